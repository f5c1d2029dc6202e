"""Users out of one fake vendor into another, whatever happens on the way."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import orjson
import pytest
from bulk.worlds import FAST, FULLSTORY_KEY, FULLSTORY_URL, Clock, Line, World, assert_closed
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from migration.vendors import Time

from replay_identity import Fullstory, Route, SourceError, UserTraits
from replay_identity.adapters.exchange import Request, Response
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
HINT = "Writing users needs a Standard key; reading and deleting them an Architect or Admin key."


@attrs.define
class LineSender:
    """A `Sender` to a vendor in this process."""

    line: Line

    def send(self, request: Request, timeout: float) -> Response:
        """Ask at once."""
        assert timeout > 0
        return self.line.ask(request)

    def close(self) -> None:
        """Free nothing."""


@attrs.define(eq=False)
class Move:
    """Fullstory with some users, to be moved to the LogRocket of a world.

    Attributes:
        world: LogRocket and the ledger.
        old: The Fullstory that users are read from.
        line: The way to it.
        time: How time passes for whoever waits.
        clock: Seconds since 1970, for the ledger's bookmarks and the vendor's tokens.
    """

    world: World
    clock: Clock = attrs.field(factory=Clock)
    old: FullstoryEmulator = attrs.field(init=False)
    line: Line = attrs.field(init=False)
    time: Time = attrs.field(factory=Time)

    def __attrs_post_init__(self) -> None:
        self.old = FullstoryEmulator(page_size=10, clock=self.clock)
        self.line = Line(self.old)

    def source(self, **options: Any) -> VendorSource:
        """Return the users of the old Fullstory."""
        backend = Fullstory(FULLSTORY_KEY, base_url=FULLSTORY_URL, name="old")
        defaults: dict[str, Any] = {"transport": LineSender(self.line), "clock": self.clock, "sleep": self.time.sleep}
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
        """Let the old vendor have so many more users."""
        for number in range(len(self.old.users), len(self.old.users) + count):
            self.put({"uid": f"u{number}", "properties": {"plan": f"p{number}"}, **fields})

    def put(self, body: Mapping[str, Any]) -> str:
        """Upsert one user at the old vendor and return the vendor's id."""
        headers = {"authorization": f"Basic {FULLSTORY_KEY}"}
        response = self.line.ask(Request("put", "POST", f"{FULLSTORY_URL}/v2/users", headers, orjson.dumps(body)))
        assert response.is_success, response.body
        return str(orjson.loads(response.body)["id"])

    def delete(self, uid: str) -> None:
        """Have the old vendor delete a user."""
        headers = {"authorization": f"Basic {FULLSTORY_KEY}"}
        response = self.line.ask(Request("delete", "DELETE", f"{FULLSTORY_URL}/v2/users?uid={uid}", headers))
        assert response.is_success

    @property
    def tokens(self) -> list[bool]:
        """Return of each page that was read whether it was asked for with a token."""
        return ["page_token" in request.query for request in self.old.requests if request.method == "GET"]

    def close(self) -> None:
        """Free the loop."""
        self.line.loop.close()


@pytest.fixture
def move(tmp_path: Path) -> Iterator[Move]:
    """Give users to move."""
    world = World(tmp_path / "ledger.db")
    move = Move(world)
    yield move
    move.close()
    world.close()


def plans(count: int) -> dict[str, Mapping[str, str]]:
    """Return what so many users have."""
    return {f"u{number}": {"plan": f"p{number}"} for number in range(count)}


def held(move: Move) -> dict[str, Mapping[str, str]]:
    """Return what LogRocket holds."""
    return {user.user_id: user.traits for user in move.world.logrocket.users.values()}


def test_moves_every_user(move: Move) -> None:
    """Page by page, once each, and the books close."""
    move.add(USERS)

    report = move.run()

    assert held(move) == plans(USERS)
    assert set(move.world.logrocket.applied.values()) == {1}
    assert_closed(report.run)
    assert (report.run["logrocket"].accepted, report.listing) == (USERS, ListingStats(users=USERS, usable=USERS))


def test_a_second_run_reads_all_and_sends_nothing(move: Move) -> None:
    """A finished reading has no place to go on from."""
    move.add(USERS)
    move.run()

    report = move.run()

    assert report.run["logrocket"].unchanged == USERS
    assert move.tokens == [False, True, True] * 2
    assert set(move.world.logrocket.applied.values()) == {1}


@pytest.mark.parametrize(("seconds", "plan"), [(1, "newer"), (-1, "p0")])
def test_what_the_app_says_of_a_later_moment_is_not_undone(move: Move, seconds: int, plan: str) -> None:
    """During the weeks of a migration the app writes to both; a page that was asked for before is older."""
    move.add(1)
    said_at = datetime.fromtimestamp(move.clock() + seconds, UTC)
    said = UserTraits("u0", traits={"plan": "newer", "seats": 3}, observed_at=said_at)
    move.run(FileSource("app", [Row(1, said)]))

    report = move.run()

    assert held(move) == {"u0": {"plan": plan, "seats": "3"}}
    assert_closed(report.run)


def test_who_cannot_be_moved_is_counted(move: Move) -> None:
    """Anonymous users, those being deleted, and those without any property."""
    move.add(2)
    move.put({"properties": {"plan": "x"}})
    move.put({"uid": "gone"})
    move.put({"uid": "bare", "display_name": "Bo"})
    move.delete("gone")

    report = move.run()

    assert report.listing == ListingStats(users=5, usable=3, anonymous=1, being_deleted=1)
    assert held(move) == {**plans(2), "bare": {}}


def test_nested_properties_and_types_arrive(move: Move) -> None:
    """As LogRocket keeps them: dotted names and texts."""
    schema = {"properties": {"company.size": "int", "since": "date"}}
    move.put({"uid": "u", "properties": {"company": {"size": 40}, "since": "2026-11-21"}, "schema": schema})

    move.run()

    assert held(move) == {"u": {"company.size": "40", "since": "2026-11-21"}}


def test_types_with_conflicts_are_told(move: Move) -> None:
    """By the name of the property, and the value that is there is moved."""
    move.put({"uid": "u", "properties": {"seats": 3}, "schema": {"properties": {"seats": "int"}}})
    move.put({"uid": "u", "properties": {"seats": "many"}})

    report = move.run()

    assert report.listing == ListingStats(users=1, usable=1, type_conflicts={"seats": 1})
    assert held(move) == {"u": {"seats": "many"}}


def test_a_mapping_gives_anonymous_users_an_id(move: Move) -> None:
    """Then they are users like any other."""
    vendor_id = move.put({"properties": {"plan": "x"}})
    mapping = RowMapping(fields={"vendor_id": FieldRule(rename="id")})

    report = move.run(move.source(mapping=mapping))

    assert held(move) == {vendor_id: {"plan": "x"}}
    assert report.listing == ListingStats(users=1, usable=1)


def test_a_user_who_cannot_be_is_unusable(move: Move) -> None:
    """The row tells which of the users, and why."""
    move.add(2)
    mapping = RowMapping(fields={"plan": FieldRule(cast="int")})

    report = move.run(move.source(mapping=mapping))

    assert report.listing == ListingStats(users=2, unusable=2)
    assert report.run.bad_rows[1] == BadRow(2, 2, "plan: expected a whole number")


def test_goes_on_from_the_page_that_was_reached(move: Move, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read before is not read again, and the record covers both runs."""
    monkeypatch.setattr("replay_identity.bulk.run._MAX_CHUNK_ROWS", 10)
    move.add(USERS)
    move.old.faults.add(Fault(status=403, skip=2, times=1, method="GET"))
    broken_off = move.run()
    move.world.restart()

    report = move.run()

    assert (broken_off.run.stopped, broken_off.listing) == (
        "old: cannot be read: HTTP 403 forbidden. " + HINT,
        ListingStats(users=20, usable=20),
    )
    assert move.tokens == [False, True, True, True]
    assert report.listing == ListingStats(users=USERS, usable=USERS, earlier=20)
    assert report.fidelity.as_dict() == move.run().fidelity.as_dict()
    assert held(move) == plans(USERS)


def test_begins_anew_where_it_is_told_to(move: Move, monkeypatch: pytest.MonkeyPatch) -> None:
    """The place that was stored is not used."""
    monkeypatch.setattr("replay_identity.bulk.run._MAX_CHUNK_ROWS", 10)
    move.add(USERS)
    move.old.faults.add(Fault(status=403, skip=2, times=1, method="GET"))
    move.run()

    report = move.run(move.source(restart=True))

    assert report.listing == ListingStats(users=USERS, usable=USERS)


def test_a_place_of_long_ago_is_not_gone_back_to(move: Move, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a day, those who were read first may have changed."""
    monkeypatch.setattr("replay_identity.bulk.run._MAX_CHUNK_ROWS", 10)
    move.add(USERS)
    move.old.faults.add(Fault(status=403, skip=2, times=1, method="GET"))
    move.run()
    move.clock.now += 25 * 3600

    report = move.run()

    assert report.listing == ListingStats(users=USERS, usable=USERS)


def test_an_expired_token_loses_nobody(move: Move, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reading begins anew, and who was sent is not sent again."""
    monkeypatch.setattr("replay_identity.bulk.run._MAX_CHUNK_ROWS", 10)
    move.add(USERS)
    move.old.faults.add(Fault(status=403, skip=2, times=1, method="GET"))
    move.run()
    move.clock.now += 2 * 3600  # The emulator forgets tokens after an hour.

    report = move.run()

    assert report.listing == ListingStats(users=USERS, usable=USERS, restarts=1)
    assert held(move) == plans(USERS)
    assert set(move.world.logrocket.applied.values()) == {1}


def test_another_target_begins_at_the_beginning(move: Move, monkeypatch: pytest.MonkeyPatch) -> None:
    """The place of one migration is none of another's: its vendor would miss the users before it."""
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
    move.world.hold(plans(USERS))


def test_a_quota_is_waited_for(move: Move) -> None:
    """A 429 on the way is no end."""
    move.add(USERS)
    move.old.faults.add(Fault(status=429, headers={"retry-after": "900"}, skip=1, method="GET"))

    move.run()

    assert 900.0 in move.time.slept
    assert held(move) == plans(USERS)


def test_what_cannot_be_read_at_all_is_told(move: Move) -> None:
    """The report says why, and the books are empty."""
    move.old.faults.add(Fault(status=401, method="GET"))

    report = move.run()

    assert (report.run.rows, report.run.backends, type(report.failure).__name__) == (0, (), "Misconfigured")
    assert str(report.run.stopped).startswith("old: cannot be read: HTTP 401")


def test_a_rehearsal_sends_nothing_and_says_the_same(move: Move) -> None:
    """Users, losses and properties are those of the run; the ledger stays as it is."""
    move.add(USERS)
    move.put({"uid": "y", "properties": {"bio": "b" * 2000}})

    dry_run_report = migrate(move.source(), move.world.backends[1:], ledger=move.world.ledger, dry_run=True)

    assert not move.world.logrocket.requests
    assert move.world.ledger.counts() == []
    run = move.run()
    assert dry_run_report.fidelity.as_dict() == run.fidelity.as_dict()
    assert dry_run_report.listing == run.listing
    assert dry_run_report.run["logrocket"].as_dict() == run.run["logrocket"].as_dict()
    assert dry_run_report.estimate is not None


def test_a_rehearsal_of_what_cannot_be_read_is_told(move: Move) -> None:
    """As the run itself would."""
    move.old.faults.add(Fault(status=401, method="GET"))

    report = migrate(move.source(), move.world.backends[1:], ledger=None, dry_run=True)

    assert type(report.failure).__name__ == "Misconfigured"


def test_a_file_is_moved_too(move: Move) -> None:
    """Its rows are counted by property, and nobody lists them."""
    rows: list[Row | BadRow] = [Row(1, UserTraits("u0", traits={"plan": "p0"})), BadRow(2, 2, "is blank")]

    report = move.run(FileSource("users.jsonl", rows))

    assert held(move) == plans(1)
    assert (report.source, report.listing, report.run.bad_row_count) == ("users.jsonl", None, 1)
    assert report.as_dict()["listing"] is None


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_file_that_cannot_be_read_is_the_callers(move: Move, *, dry_run: bool) -> None:
    """As everywhere else."""

    def unreadable() -> Iterator[Row]:
        raise SourceError("users.jsonl", "is not UTF-8")
        yield

    with pytest.raises(SourceError, match="UTF-8"):
        move.run(FileSource("users.jsonl", unreadable()), dry_run=dry_run)


def test_the_report_is_json(move: Move) -> None:
    """Names and counts, and no value."""
    move.put({"uid": "secret-id", "display_name": "secret-name", "properties": {"plan": "secret-plan"}})

    document = orjson.dumps(move.run().as_dict())

    assert b"secret" not in document
    assert orjson.loads(document)["listing"]["users"] == 1


def test_a_route_hides_a_property_from_the_report(move: Move) -> None:
    """What a vendor may not see is none of its losses."""
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
def test_nobody_is_lost_wherever_it_is_stopped(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Stopped after any page or request, the next run brings LogRocket to the same state."""
    with closing(World(tmp_path_factory.mktemp("world") / "ledger.db")) as world, closing(Move(world)) as move:
        move.add(USERS)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("replay_identity.bulk.run._MAX_CHUNK_ROWS", data.draw(st.integers(1, 12)))
            for _ in range(data.draw(st.integers(1, 3))):
                run_until(move, data.draw(st.integers(1, 12)), line=data.draw(st.sampled_from(["old", "logrocket"])))
            report = move.run()

        assert held(move) == plans(USERS)
        assert report.listing is not None
        assert report.listing.users == USERS


def run_until(move: Move, number: int, *, line: str) -> None:
    """Migrate, and stop at the request of that *number* to one of the vendors; then be the next process."""
    stop = threading.Event()
    watched = {"old": move.line, "logrocket": move.world.logrocket_line}[line]
    watched.count = 0
    watched.before = lambda count: stop.set() if count >= number else None
    assert_closed(move.run(stop=stop).run)
    move.line.calm()
    move.world.calm()
    move.world.restart()
