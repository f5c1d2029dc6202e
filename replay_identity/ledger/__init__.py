"""What every user should be and what each vendor confirmed of it, kept on disk."""

from .bookmarks import Bookmark
from .claiming import Claim
from .jobs import Batch, Job, JobMember
from .ledger import Ledger, Refused, Standing
from .putting import PutCounts
from .settling import Settlement

__all__ = ["Batch", "Bookmark", "Claim", "Job", "JobMember", "Ledger", "PutCounts", "Refused", "Settlement", "Standing"]
