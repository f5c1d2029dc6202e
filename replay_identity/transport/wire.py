"""What holds on the wire whichever HTTP library speaks: who we say we are, and how much answer we take."""

from importlib.metadata import version
from typing import Final

# Enough for any page of users; a vendor that sends more is not answering what was asked.
MAX_REPLY_BYTES: Final = 32 * 2**20
HEADERS: Final = {"accept-encoding": "gzip, deflate", "user-agent": f"replay-identity/{version('replay-identity')}"}
# A proxy from the environment is for the way out: what is meant for this machine must not leave it.
LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
