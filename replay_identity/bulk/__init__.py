"""Users in bulk: from a source into a ledger, and from there to every vendor, each in a loop of its own."""

from ..delivery_options import DeliveryOptions
from .books import Books
from .report import Progress, SyncReport
from .sync import deliver, sync

__all__ = ["Books", "DeliveryOptions", "Progress", "SyncReport", "deliver", "sync"]
