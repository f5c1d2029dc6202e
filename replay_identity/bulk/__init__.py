"""Users in bulk: from a source into a ledger, and from there to every vendor, each in a loop of its own."""

from .dry_runs import Effort, Rehearsal, rehearse
from .durable import DurableRouter
from .options import DeliveryOptions
from .report import Books, Progress, SyncReport
from .run import deliver, sync

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
