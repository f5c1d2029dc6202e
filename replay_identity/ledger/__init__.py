"""What every user should be and what each vendor confirmed of it, kept on disk."""

from .claims import Claim
from .jobs import Batch, Job, JobMember
from .ledger import Bookmark, Ledger, Refused, Standing
from .settlements import Settlement
from .upserts import PutCounts

__all__ = ["Batch", "Bookmark", "Claim", "Job", "JobMember", "Ledger", "PutCounts", "Refused", "Settlement", "Standing"]
