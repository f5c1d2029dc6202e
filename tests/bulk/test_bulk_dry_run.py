"""Dry runs: what a run would do."""

from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
from support.backends import Acme, AcmeBatch, batch_limits
from support.in_process import FAST, World, assert_closed
from support.users import user, users

from replay_identity import Accepted, Route, UserTraits
from replay_identity.adapters import EncodedUser, Plan, Request
from replay_identity.bulk import Estimate, dry_run
from replay_identity.outcomes import Violation

REQUEST = Request("identify", "PUT", "https://vendor.example/")


def test_reports_what_a_run_would_do(world: World) -> None:
    """The counts equal those of a real run, and the ledger stays unchanged."""
    world.sync(users(20, plan="pro"))
    rows = [*users(20, plan="pro"), *users(10, plan="free"), user("new", plan="x" * 2000), UserTraits(name="Ann")]
    applied = world.fullstory.total_applied
    updates: list[object] = []

    dry_run_report = dry_run(
        rows, world.backends, ledger=world.ledger, options=world.options, on_progress=updates.append
    )

    assert_closed(dry_run_report.report)
    assert world.fullstory.total_applied == applied
    assert world.ledger.pending_count("fullstory") == 0
    assert updates
    real = world.sync(rows)
    for name in ("fullstory", "logrocket"):
        expected, actual = dry_run_report.report[name].as_dict(), real[name].as_dict()
        assert {key: expected[key] for key in ("given", "accepted", "unchanged", "rejected", "pending")} == {
            key: actual[key] for key in ("given", "accepted", "unchanged", "rejected", "pending")
        }
    assert dry_run_report.estimate == {"fullstory": Estimate(4, 1, None), "logrocket": Estimate(10, 0, None)}


@pytest.mark.parametrize("as_path", [str, Path])
def test_takes_the_path_of_a_ledger(world: World, as_path: Callable[[Path], str | Path]) -> None:
    """Confirmed users are unchanged, and the file is not modified."""
    world.sync(users(3, plan="pro"))

    dry_run_report = dry_run(users(4, plan="pro"), world.backends, ledger=as_path(world.path), options=world.options)

    counts = dry_run_report.report["fullstory"]
    assert (counts.accepted, counts.unchanged) == (1, 3)
    assert world.ledger.pending_count("fullstory") == 0


def test_creates_no_ledger(world: World, tmp_path: Path) -> None:
    """A file that does not exist is an empty ledger."""
    path = tmp_path / "missing.db"

    dry_run_report = dry_run(users(4), world.backends, ledger=path)

    assert dry_run_report.report["fullstory"].accepted == 4
    assert not path.exists()


def test_estimates_the_duration_at_a_quota(world: World) -> None:
    """It is a minimum."""
    options = {name: attrs.evolve(FAST, requests_per_minute=60) for name in ("fullstory", "logrocket")}
    options["fullstory"] = attrs.evolve(options["fullstory"], batch_users=100)

    dry_run_report = dry_run(users(250, plan="pro"), world.backends, ledger=None, options=options)

    assert dry_run_report.estimate == {"fullstory": Estimate(12, 3, 12.0), "logrocket": Estimate(250, 0, 250.0)}
    assert dry_run_report.as_dict()["estimate"]["fullstory"] == {"requests": 12, "jobs": 3, "seconds": 12.0}


def test_counts_users_that_no_batch_contains() -> None:
    """Users who break a limit, are filtered out, or meet a bug."""

    def encode(one: UserTraits) -> EncodedUser:
        if one.user_id == "u1":
            return EncodedUser("acme", None, (), (Violation("traits.x", "too-long"),))
        if one.user_id == "u2":
            raise ValueError("canary")
        return EncodedUser("acme", b"x" * 40)

    route = Route(AcmeBatch(encode=encode, batch_limits=batch_limits(50)), when=lambda one: one.user_id != "u3")

    dry_run_report = dry_run(users(10), [route], ledger=None, options={"acme": attrs.evolve(FAST, batch_bytes=100)})

    counts = dry_run_report.report["acme"]
    assert (counts.accepted, counts.unchanged, counts.rejected) == (7, 1, 2)
    assert dry_run_report.estimate["acme"].jobs == 3


def test_processes_all_users_after_many_unchanged(world: World) -> None:
    """A thousand reverted users, and one new one after them."""
    both = ["fullstory", "logrocket"]
    world.sync(users(1200, plan="pro"))
    world.ledger.upsert([*users(1200, plan="free")], both)
    world.ledger.upsert([*users(1200, plan="pro"), user("last", plan="pro")], both)

    dry_run_report = dry_run([], world.backends, ledger=world.ledger, options=world.options)

    assert_closed(dry_run_report.report)
    assert [backend.pending for backend in dry_run_report.report.backends] == [0, 0]
    assert [backend.accepted for backend in dry_run_report.report.backends] == [1, 1]


@pytest.mark.parametrize("request_or_none", [REQUEST, None])
def test_counts_no_request_for_empty_plans(request_or_none: Request | None) -> None:
    """A plan without a request needs none."""

    class Planning(Acme):
        def plan(self, _user: UserTraits, /) -> Plan:
            return Plan(self.name, request_or_none)

    dry_run_report = dry_run(users(3), [Planning(act=lambda _: Accepted("acme"))], ledger=None)

    assert dry_run_report.estimate["acme"].requests == (0 if request_or_none is None else 3)
