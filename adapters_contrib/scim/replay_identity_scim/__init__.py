"""SCIM 2.0 for Fullstory's own seats: the colleagues who log in to Fullstory, not the users it records."""

from .errors import ListingError
from .model import Group, Seat
from .seats import DEFAULT_BASE_URL, FullstorySeats

__all__ = ["DEFAULT_BASE_URL", "FullstorySeats", "Group", "ListingError", "Seat"]
