"""Store the desired state of users, and what each vendor confirmed of it."""

from .batches import Batch, JobEntries, JobEntry, StoredJob
from .ledger import Ledger
from .store import (
    Account,
    AccountCounts,
    AccountInfo,
    AccountStatus,
    Checkpoint,
    Claim,
    MirrorStart,
    MutableRowIds,
    RecentRejection,
    RejectedUser,
    RowIds,
    Settlement,
    Store,
    UpsertCounts,
    UserStatus,
    VanishedUser,
)

__all__ = [
    "Account",
    "AccountCounts",
    "AccountInfo",
    "AccountStatus",
    "Batch",
    "Checkpoint",
    "Claim",
    "JobEntries",
    "JobEntry",
    "Ledger",
    "MirrorStart",
    "MutableRowIds",
    "RecentRejection",
    "RejectedUser",
    "RowIds",
    "Settlement",
    "Store",
    "StoredJob",
    "UpsertCounts",
    "UserStatus",
    "VanishedUser",
]
