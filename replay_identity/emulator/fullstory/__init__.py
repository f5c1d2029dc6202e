"""An emulator of Fullstory's server API v2."""

from .app import FullstoryEmulator
from .batch_rules import BatchRules, JobFault, JobFaults
from .exports import ExportRules
from .jobs import BatchJob
from .routes import Level
from .users import FullstoryUser

__all__ = [
    "BatchJob",
    "BatchRules",
    "ExportRules",
    "FullstoryEmulator",
    "FullstoryUser",
    "JobFault",
    "JobFaults",
    "Level",
]
