"""Users in bulk: from a source into a ledger, and from there to every vendor, each in a loop of its own."""

from ..delivery_options import DeliveryOptions
from .books import Books
from .durable import DurableRouter
from .rehearsal import Effort, Rehearsal, rehearse
from .report import Progress, SyncReport
from .sync import deliver, sync

__all__ = [
    "Books",
    "DeliveryOptions",
    "DurableRouter",
    "Effort",
    "Progress",
    "Rehearsal",
    "SyncReport",
    "deliver",
    "rehearse",
    "sync",
]
