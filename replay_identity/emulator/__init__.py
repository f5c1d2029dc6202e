"""Fake vendors over real HTTP, for tests and for trying things out.

They are written from the vendors' documents and share no code with the adapters, so that the two can disagree. Where
the documents say nothing, a comment that starts with `Policy:` gives our choice.
"""

try:
    from .base import Emulator
except ModuleNotFoundError as error:
    message = "The emulators need more packages; install them with: pip install 'replay-identity[emulator]'"
    raise ModuleNotFoundError(message, name=error.name) from error
from .faults import Drop, Fault, Faults, Garbage
from .fullstory import BatchJob, BatchRules, ExportRules, FullstoryEmulator, FullstoryUser, JobFault, JobFaults, Level
from .journal import HistoryNotKeptError, RecordedRequest
from .logrocket import LogRocketEmulator, LogRocketUser
from .rate_limit import RateLimit
from .server import PortInUseError, RunningServer, running, serve

__all__ = [
    "BatchJob",
    "BatchRules",
    "Drop",
    "Emulator",
    "ExportRules",
    "Fault",
    "Faults",
    "FullstoryEmulator",
    "FullstoryUser",
    "Garbage",
    "HistoryNotKeptError",
    "JobFault",
    "JobFaults",
    "Level",
    "LogRocketEmulator",
    "LogRocketUser",
    "PortInUseError",
    "RateLimit",
    "RecordedRequest",
    "RunningServer",
    "running",
    "serve",
]
