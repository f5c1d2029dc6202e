"""Deliver the users of a file to both vendors in a process that may be killed at any moment.

Arguments: the ledger, the file of users, Fullstory's URL, LogRocket's URL.
"""

import sys

from replay_identity import Fullstory, LogRocket
from replay_identity.bulk import DeliveryOptions, sync
from replay_identity.ledger import Ledger
from replay_identity.sources import read_users

_, ledger, source, fullstory, logrocket = sys.argv
options = DeliveryOptions(
    wait_initial=0.01, wait_max=0.05, poll_initial=0.02, poll_max=0.05, timeout=2.0, batch_users=2000
)
with Ledger(ledger) as opened:
    report = sync(
        read_users(source),
        [
            Fullstory("na1.emulator", base_url=fullstory),
            LogRocket("acme:shop:emulator", base_url=logrocket),
        ],
        ledger=opened,
        options={"fullstory": options, "logrocket": options},
    )
closed = all(backend.is_closed for backend in report.backends)
sys.exit(0 if closed and not report.pending and not report.rejected else 1)
