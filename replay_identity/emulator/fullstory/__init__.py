"""A fake Fullstory, server API v2."""

from .access import Level
from .app import FullstoryEmulator
from .batch_rules import BatchRules
from .job import BatchJob
from .job_faults import JobFault, JobFaults
from .users import FullstoryUser

__all__ = ["BatchJob", "BatchRules", "FullstoryEmulator", "FullstoryUser", "JobFault", "JobFaults", "Level"]
