"""Bulk delivery: from a source into a ledger, and from there to every vendor, with one worker per backend."""

from .dry_runs import DryRunReport, Estimate, dry_run
from .durable import DurableRouter
from .options import DeliveryOptions
from .report import BackendReport, Progress, SyncReport
from .run import deliver, sync

__all__ = [
    "BackendReport",
    "DeliveryOptions",
    "DryRunReport",
    "DurableRouter",
    "Estimate",
    "Progress",
    "SyncReport",
    "deliver",
    "dry_run",
    "sync",
]
