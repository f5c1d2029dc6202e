"""Bulk delivery: from a source into a ledger, and from there to every vendor, with one worker per backend."""

from .comparison import BackendComparison, ComparisonReport, compare, sample
from .dry_runs import DryRunReport, Estimate, check, check_user, dry_run
from .durable import DurableRouter
from .explanation import AccountExplanation, DeliveryState, UserExplanation, explain
from .mirror import Mirror
from .options import DeliveryOptions
from .report import BackendReport, MirrorReport, MirrorState, Progress, SyncReport
from .run import deliver, sync
from .stats import BackendStats, Stats

__all__ = [
    "AccountExplanation",
    "BackendComparison",
    "BackendReport",
    "BackendStats",
    "ComparisonReport",
    "DeliveryOptions",
    "DeliveryState",
    "DryRunReport",
    "DurableRouter",
    "Estimate",
    "Mirror",
    "MirrorReport",
    "MirrorState",
    "Progress",
    "Stats",
    "SyncReport",
    "UserExplanation",
    "check",
    "check_user",
    "compare",
    "deliver",
    "dry_run",
    "explain",
    "sample",
    "sync",
]
