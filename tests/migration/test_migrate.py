"""Migrations from one emulated vendor to another, with faults on the way."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.clock import Clock
from support.in_process import FAST, FULLSTORY_URL, Line, World, assert_closed
from support.profiles import examples
from support.vendors import FULLSTORY_KEY

from replay_identity import ConfigurationError, Fullstory, Route, SourceError, UserTraits
from replay_identity.adapters import Request, Response
from replay_identity.emulator import Fault, FullstoryEmulator
from replay_identity.mapping import FieldRule, RowMapping
from replay_identity.migration import (
    FileSource,
    ListingStats,
    MigrationReport,
    VendorSource,
    migrate,
)
from replay_identity.sources import BadRow, Row

USERS = 25
HINT = (
    "Writing users needs a Standard key; reading and deleting them, and reading the results of a batch or of a "
    "streamed user, an Architect or Admin key."
)


@attrs.define
class LineSender:
    """A `Sender` to a vendor in this process."""

    line: Line

    def send(self, request: Request, timeout: float) -> Response:
        """Send the request at once."""
        assert timeout > 0
        return self.line.send(request)

    def close(self) -> None:
        """Do nothing."""


@attrs.define(eq=False)
class Move:
    """A Fullstory account whose users are moved to the LogRocket of a world.

    Attributes:
        world: LogRocket and the ledger.
        clock: Seconds since 1970, for checkpoints and page tokens.
        old: The Fullstory that users are read from.
        line: The connection to it.
        waits: The waits, as sleeps of a clock of its own.
    """

    world: World
    clock: Clock = attrs.field(factory=Clock)
    old: FullstoryEmulator = attrs.field(init=False)
    line: Line = attrs.field(init=False)
    waits: Clock = attrs.field(factory=Clock)

    def __attrs_post_init__(self) -> None:
        self.old = FullstoryEmulator(page_size=10, clock=self.clock)
        self.line = Line(self.old)

    def source(self, **options: Any) -> VendorSource:
        """Return the users of the old Fullstory."""
        backend = Fullstory(FULLSTORY_KEY, base_url=FULLSTORY_URL, name="old")
        defaults: dict[str, Any] = {"transport": LineSender(self.line), "clock": self.clock, "sleep": self.waits.sleep}
        return VendorSource(backend=backend, options=FAST, **{**defaults, **options})

    def run(self, source: Any = None, **options: Any) -> MigrationReport:
        """Migrate to LogRocket."""
        defaults: dict[str, Any] = {
            "ledger": self.world.ledger,
            "options": {"logrocket": FAST},
            "transport": self.world.sender,
        }
        return migrate(source or self.source(), self.world.backends[1:], **{**defaults, **options})

    def add(self, count: int, **fields: Any) -> None:
        """Add *count* users at the old vendor."""
        for number in range(len(self.old.users), len(self.old.users) + count):
            self.put({"uid": f"u{number}", "properties": {"plan": f"p{number}"}, **fields})

    def put(self, body: Mapping[str, Any]) -> str:
        """Upsert one user at the old vendor and return the vendor's id."""
        headers = {"authorization": f"Basic {FULLSTORY_KEY}"}
        response = self.line.send(Request("put", "POST", f"{FULLSTORY_URL}/v2/users", headers, orjson.dumps(body)))
        assert response.is_success, response.body
        return str(orjson.loads(response.body)["id"])

    def delete(self, uid: str) -> None:
        """Delete a user at the old vendor."""
        headers = {"authorization": f"Basic {FULLSTORY_KEY}"}
        response = self.line.send(Request("delete", "DELETE", f"{FULLSTORY_URL}/v2/users?uid={uid}", headers))
        assert response.is_success

    @property
    def tokens(self) -> list[bool]:
        """Whether each page read was requested with a token."""
        return ["page_token" in request.query for request in self.old.requests if request.method == "GET"]

    def close(self) -> None:
        """Close the event loop of the connection."""
        self.line.loop.close()


@pytest.fixture
def move(tmp_path: Path) -> Iterator[Move]:
    """Yield a migration without users."""
    world = World(tmp_path / "ledger.db")
    move = Move(world)
    yield move
    move.close()
    world.close()


def plans(count: int) -> dict[str, Mapping[str, str]]:
    """Return the traits of *count* users."""
    return {f"u{number}": {"plan": f"p{number}"} for number in range(count)}


def logrocket_traits(move: Move) -> dict[str, Mapping[str, str]]:
    """Return the traits at LogRocket by user."""
    return {user.user_id: user.traits for user in move.world.logrocket.users.values()}


def test_moves_every_user(move: Move) -> None:
    """Page by page, once each, and the counts add up."""
    move.add(USERS)

    report = move.run()

    assert logrocket_traits(move) == plans(USERS)
    assert set(move.world.logrocket.applied.values()) == {1}
    assert_closed(report.run)
    assert (report.run["logrocket"].accepted, report.listing) == (USERS, ListingStats(users=USERS, usable=USERS))


def test_a_second_run_sends_nothing(move: Move) -> None:
    """A finished run leaves no checkpoint, so all users are read again."""
    move.add(USERS)
    move.run()

    report = move.run()

    assert report.run["logrocket"].unchanged == USERS
    assert move.tokens == [False, True, True] * 2
    assert set(move.world.logrocket.applied.values()) == {1}


@pytest.mark.parametrize(("seconds", "plan"), [(1, "newer"), (-1, "p0")])
def test_keeps_newer_traits_from_the_app(move: Move, seconds: int, plan: str) -> None:
    """Traits observed after the page was requested win."""
    move.add(1)
    observed_at = datetime.fromtimestamp(move.clock() + seconds, UTC)
    newer = UserTraits("u0", traits={"plan": "newer", "seats": 3}, observed_at=observed_at)
    move.run(FileSource("app", [Row(1, newer)]))

    report = move.run()

    assert logrocket_traits(move) == {"u0": {"plan": plan, "seats": "3"}}
    assert_closed(report.run)


def test_counts_users_who_are_not_moved(move: Move) -> None:
    """Anonymous users and those being deleted. Users without properties are moved."""
    move.add(2)
    move.put({"properties": {"plan": "x"}})
    move.put({"uid": "gone"})
    move.put({"uid": "bare", "display_name": "Bo"})
    move.delete("gone")

    report = move.run()

    assert report.listing == ListingStats(users=5, usable=3, anonymous=1, being_deleted=1)
    assert logrocket_traits(move) == {**plans(2), "bare": {}}


def test_moves_nested_and_typed_properties(move: Move) -> None:
    """LogRocket gets dotted names and strings."""
    schema = {"properties": {"company.size": "int", "since": "date"}}
    move.put({"uid": "u", "properties": {"company": {"size": 40}, "since": "2026-11-21"}, "schema": schema})

    move.run()

    assert logrocket_traits(move) == {"u": {"company.size": "40", "since": "2026-11-21"}}


def test_reports_properties_with_several_types(move: Move) -> None:
    """Their values are moved."""
    move.put({"uid": "u", "properties": {"seats": 3}, "schema": {"properties": {"seats": "int"}}})
    move.put({"uid": "u", "properties": {"seats": "many"}})

    report = move.run()

    assert report.listing == ListingStats(users=1, usable=1, type_conflicts={"seats": 1})
    assert logrocket_traits(move) == {"u": {"seats": "many"}}


def test_a_mapping_gives_anonymous_users_an_id(move: Move) -> None:
    """Then they are moved like any other."""
    vendor_id = move.put({"properties": {"plan": "x"}})
    mapping = RowMapping(fields={"vendor_id": FieldRule(rename="id")})

    report = move.run(move.source(mapping=mapping))

    assert logrocket_traits(move) == {vendor_id: {"plan": "x"}}
    assert report.listing == ListingStats(users=1, usable=1)


def test_counts_unusable_users(move: Move) -> None:
    """The bad row says which user, and why."""
    move.add(2)
    mapping = RowMapping(fields={"plan": FieldRule(cast="int")})

    report = move.run(move.source(mapping=mapping))

    assert report.listing == ListingStats(users=2, unusable=2)
    assert report.run.bad_rows[1] == BadRow(
        2, 2, 'plan: expected a whole number; set on_error = "absent" to leave it out'
    )


def test_resumes_at_the_checkpoint(move: Move, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages are not read again, and the statistics cover both runs."""
    monkeypatch.setattr("replay_identity.bulk.run._MAX_CHUNK_ROWS", 10)
    move.add(USERS)
    move.old.faults.add(Fault(status=403, skip=2, times=1, method="GET"))
    interrupted = move.run()
    move.world.restart()

    report = move.run()

    assert (interrupted.run.stopped, interrupted.listing) == (
        "old: cannot be read: HTTP 403 forbidden. " + HINT,
        ListingStats(users=20, usable=20),
    )
    assert move.tokens == [False, True, True, True]
    assert report.listing == ListingStats(users=USERS, usable=USERS, earlier=20)
    assert report.fidelity.as_dict() == move.run().fidelity.as_dict()
    assert logrocket_traits(move) == plans(USERS)


def test_restart_ignores_the_checkpoint(move: Move, monkeypatch: pytest.MonkeyPatch) -> None:
    """All users are read."""
    monkeypatch.setattr("replay_identity.bulk.run._MAX_CHUNK_ROWS", 10)
    move.add(USERS)
    move.old.faults.add(Fault(status=403, skip=2, times=1, method="GET"))
    move.run()

    report = move.run(move.source(restart=True))

    assert report.listing == ListingStats(users=USERS, usable=USERS)


def test_ignores_an_old_checkpoint(move: Move, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a day, users read before may have changed."""
    monkeypatch.setattr("replay_identity.bulk.run._MAX_CHUNK_ROWS", 10)
    move.add(USERS)
    move.old.faults.add(Fault(status=403, skip=2, times=1, method="GET"))
    move.run()
    move.clock.now += 25 * 3600

    report = move.run()

    assert report.listing == ListingStats(users=USERS, usable=USERS)


def test_an_expired_token_loses_no_user(move: Move, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading starts again, and users who were sent are not sent again."""
    monkeypatch.setattr("replay_identity.bulk.run._MAX_CHUNK_ROWS", 10)
    move.add(USERS)
    move.old.faults.add(Fault(status=403, skip=2, times=1, method="GET"))
    move.run()
    move.clock.now += 2 * 3600  # The emulator forgets tokens after an hour.

    report = move.run()

    assert report.listing == ListingStats(users=USERS, usable=USERS, restarts=1)
    assert logrocket_traits(move) == plans(USERS)
    assert set(move.world.logrocket.applied.values()) == {1}


def test_each_migration_has_its_own_checkpoint(move: Move, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another backend would miss the users before it."""
    monkeypatch.setattr("replay_identity.bulk.run._MAX_CHUNK_ROWS", 10)
    move.add(USERS)
    move.old.faults.add(Fault(status=403, skip=2, times=1, method="GET"))
    move.run()

    report = migrate(
        move.source(),
        move.world.backends,
        ledger=move.world.ledger,
        options=move.world.options,
        transport=move.world.sender,
    )

    assert report.listing == ListingStats(users=USERS, usable=USERS)
    move.world.assert_stored(plans(USERS))


def test_waits_for_a_quota(move: Move) -> None:
    """A 429 does not stop the run."""
    move.add(USERS)
    move.old.faults.add(Fault(status=429, headers={"retry-after": "900"}, skip=1, method="GET"))

    move.run()

    assert 900.0 in move.waits.slept
    assert logrocket_traits(move) == plans(USERS)


def test_reports_a_vendor_that_cannot_be_read(move: Move) -> None:
    """The report has the failure and empty counts."""
    move.old.faults.add(Fault(status=401, method="GET"))

    report = move.run()

    assert (report.run.rows, report.run.backends, type(report.failure).__name__) == (0, (), "Misconfigured")
    assert str(report.run.stopped).startswith("old: cannot be read: HTTP 401")


def test_a_dry_run_sends_nothing_and_predicts_the_run(move: Move) -> None:
    """Users, losses and properties match the run; the ledger is not changed."""
    move.add(USERS)
    move.put({"uid": "y", "properties": {"bio": "b" * 2000}})

    predicted = migrate(move.source(), move.world.backends[1:], ledger=move.world.ledger, dry_run=True)

    assert not move.world.logrocket.requests
    assert move.world.ledger.counts() == []
    run = move.run()
    assert predicted.fidelity.as_dict() == run.fidelity.as_dict()
    assert predicted.listing == run.listing
    assert predicted.run["logrocket"].as_dict() == run.run["logrocket"].as_dict()
    assert predicted.estimate is not None


def test_a_dry_run_reports_an_unreadable_vendor(move: Move) -> None:
    """The report is that of a real run."""
    move.old.faults.add(Fault(status=401, method="GET"))

    report = migrate(move.source(), move.world.backends[1:], ledger=None, dry_run=True)

    assert type(report.failure).__name__ == "Misconfigured"


def test_moves_a_file(move: Move) -> None:
    """Its rows are counted by property; there is no listing."""
    rows: list[dict[str, str] | BadRow] = [{"id": "u0", "plan": "p0"}, BadRow(2, 2, "not valid UTF-8")]

    report = move.run(FileSource("users.jsonl", rows))

    assert logrocket_traits(move) == plans(1)
    assert (report.source, report.listing, report.run.bad_row_count) == ("users.jsonl", None, 1)
    assert report.as_dict()["listing"] is None
    assert report.as_dict()["source"] == report.source
    assert report.as_dict()["notes"] == report.run.notes.as_dict()


@pytest.mark.parametrize("dry_run", [False, True])
def test_raises_for_an_unreadable_file(move: Move, *, dry_run: bool) -> None:
    """A dry run raises the same error."""

    def unreadable() -> Iterator[Row]:
        raise SourceError("users.jsonl", "not valid UTF-8")
        yield

    with pytest.raises(SourceError, match="UTF-8"):
        move.run(FileSource("users.jsonl", unreadable()), dry_run=dry_run)


def test_a_run_needs_a_ledger(move: Move) -> None:
    """Only a dry run works without one."""
    with pytest.raises(ConfigurationError) as caught:
        move.run(ledger=None)

    assert caught.value.setting == "ledger"


def test_the_report_is_json_without_values(move: Move) -> None:
    """It contains only names and counts."""
    move.put({"uid": "secret-id", "display_name": "secret-name", "properties": {"plan": "secret-plan"}})

    document = orjson.dumps(move.run().as_dict())

    assert b"secret" not in document
    assert orjson.loads(document)["listing"]["users"] == 1


def test_a_route_hides_a_property(move: Move) -> None:
    """An excluded property does not count as a loss."""
    move.add(1)

    report = migrate(
        move.source(),
        [Route(move.world.backends[1], exclude={"plan"})],  # type: ignore[arg-type]
        ledger=move.world.ledger,
        transport=move.world.sender,
        options={"logrocket": FAST},
    )

    assert report.run["logrocket"].given == 1


@settings(max_examples=examples(25))
@given(data=st.data())
def test_loses_no_user_wherever_it_stops(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    """After any page or request, the next run reaches the same state."""
    with closing(World(tmp_path_factory.mktemp("world") / "ledger.db")) as world, closing(Move(world)) as move:
        move.add(USERS)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("replay_identity.bulk.run._MAX_CHUNK_ROWS", data.draw(st.integers(1, 12)))
            for _ in range(data.draw(st.integers(1, 3))):
                run_until(move, data.draw(st.integers(1, 12)), line=data.draw(st.sampled_from(["old", "logrocket"])))
            report = move.run()

        assert logrocket_traits(move) == plans(USERS)
        assert report.listing is not None
        assert report.listing.users == USERS


def run_until(move: Move, number: int, *, line: str) -> None:
    """Migrate, stop at request *number* to one of the vendors, and restart the process."""
    stop = threading.Event()
    watched = {"old": move.line, "logrocket": move.world.logrocket_line}[line]
    watched.count = 0
    watched.before = lambda count: stop.set() if count >= number else None
    assert_closed(move.run(stop=stop).run)
    move.line.reset_hooks()
    move.world.reset_hooks()
    move.world.restart()
