"""What has to be sent of a user, compared with what the vendor has confirmed."""

from collections.abc import Iterator

import orjson
import pytest
from support.ledgers import settle
from support.vendors import FULLSTORY_KEY, LOGROCKET_KEY

from replay_identity import Accepted, Fullstory, LogRocket, Route, UserTraits
from replay_identity.bulk import BackendReport
from replay_identity.bulk.changes import Change, ChangePlanner, EncodedChange, Unsent, sent_paths
from replay_identity.bulk.outbox import LedgerOutbox
from replay_identity.ledger import Account, Ledger

ACCOUNT = Account("fullstory", "shop", "1")
FULLSTORY = Fullstory(FULLSTORY_KEY)
LOGROCKET = LogRocket(LOGROCKET_KEY)


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    """Yield a ledger in memory."""
    with Ledger(":memory:") as ledger:
        yield ledger


def planned(ledger: Ledger, user: UserTraits, *, batch: bool) -> Change | EncodedChange | Unsent:
    """Upsert *user*, and return what has to be sent, which is then accepted."""
    ledger.upsert([user], [ACCOUNT])
    planner = ChangePlanner(Route(FULLSTORY), LedgerOutbox(ledger, ACCOUNT, BackendReport("fullstory", "shop")))
    (claim,) = ledger.claim(ACCOUNT)
    change = planner.encoded_change(claim, FULLSTORY) if batch else planner.change(claim)
    assert settle(ledger, change.claim, Accepted("fullstory"), ACCOUNT)
    return change


@pytest.mark.parametrize("batch", [False, True], ids=["request", "batch"])
def test_another_vendor_id_gets_everything(ledger: Ledger, batch: bool) -> None:  # noqa: FBT001  # A parameter.
    """The user of that id may have nothing; with the id confirmed, only changes are sent."""
    sent: list[object] = []
    for vendor_id, seats in (("7", 1), ("8", 1), ("8", 2)):
        user = UserTraits("u1", traits={"plan": "a", "seats": seats}, vendor_ids={"fullstory": vendor_id})
        change = planned(ledger, user, batch=batch)
        assert not isinstance(change, Unsent)
        plan = change.plan if isinstance(change, Change) else None
        content = change.content if isinstance(change, EncodedChange) else plan and plan.request and plan.request.body
        sent.append(orjson.loads(content or b"{}")["properties"])

    assert sent == [{"plan": "a", "seats": 1}, {"plan": "a", "seats": 1}, {"seats": 2}]


@pytest.mark.parametrize(
    ("route", "expected"),
    [
        (Route(LOGROCKET), ["name", "traits.a.x", "traits.b"]),
        (Route(LOGROCKET, rename={"a": "c"}, exclude={"name"}), ["traits.c.x", "traits.b"]),
        (Route(FULLSTORY), ["name", "traits.a", "traits.b"]),
        (Route(FULLSTORY, when=lambda _: False), []),
    ],
)
def test_names_what_a_backend_is_sent(route: Route, expected: list[str]) -> None:
    """By leaf for a vendor of flat names, and nothing of a user that the route keeps away."""
    one = UserTraits("u1", name="Ann", traits={"a": {"x": 1}, "b": 2})

    assert [*sent_paths(route, one)] == expected
