"""Fullstory seats over SCIM 2.0: for the colleagues who log in to Fullstory, not the users it records."""

from .model import Group, Seat
from .seats import DEFAULT_BASE_URL, FullstorySeats, ListingError

__all__ = ["DEFAULT_BASE_URL", "FullstorySeats", "Group", "ListingError", "Seat"]
