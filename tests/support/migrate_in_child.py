"""Migrate Fullstory's users to LogRocket in a process that may be killed at any moment, and print the report.

Arguments: the ledger, Fullstory's URL, LogRocket's URL.
"""

import json
import sys

from replay_identity import DeliveryOptions, Fullstory, Ledger, LogRocket
from replay_identity.migration import VendorSource, migrate

_, ledger, fullstory, logrocket = sys.argv
options = DeliveryOptions(wait_initial=0.01, wait_max=0.05, timeout=5.0)
with Ledger(ledger) as opened:
    report = migrate(
        VendorSource(backend=Fullstory("na1.emulator", base_url=fullstory), options=options),
        [LogRocket("acme:shop:emulator", base_url=logrocket)],
        ledger=opened,
        options={"logrocket": options},
    )
assert all(counts.is_closed for counts in report.run.backends)
print(json.dumps(report.as_dict()))  # noqa: T201  # For the process that waits.
