"""Store the desired state of users, and what each vendor confirmed of it."""

from .ledger import Ledger
from .store import (
    Account,
    AccountCounts,
    AccountInfo,
    AccountStatus,
    Batch,
    Checkpoint,
    Claim,
    JobEntry,
    MutableRowIds,
    RejectedUser,
    RowIds,
    Settlement,
    Store,
    StoredJob,
    UpsertCounts,
    UserStatus,
)

__all__ = [
    "Account",
    "AccountCounts",
    "AccountInfo",
    "AccountStatus",
    "Batch",
    "Checkpoint",
    "Claim",
    "JobEntry",
    "Ledger",
    "MutableRowIds",
    "RejectedUser",
    "RowIds",
    "Settlement",
    "Store",
    "StoredJob",
    "UpsertCounts",
    "UserStatus",
]
