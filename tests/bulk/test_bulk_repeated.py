"""Several rows about one user in one source are merged before anything is sent."""

import json
import random
import threading
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.in_process import FAST, World, assert_closed
from support.users import user, users

from replay_identity import UserTraits
from replay_identity.bulk import Progress, dry_run
from replay_identity.bulk.repeated import IdCounts, MergedUser, RepeatedUsers, RowMerger, as_rows
from replay_identity.emulator import Fault
from replay_identity.errors import SourceError
from replay_identity.mapping import CompiledMapping, RowMapping
from replay_identity.migration import FileSource, migrate
from replay_identity.sources import BadRow, Row, Rows, read_users

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def repeated(*ids: Hashable) -> RepeatedUsers:
    """Return those of *ids* that occur more than once."""
    counts = IdCounts()
    counts.add(ids)
    found = counts.repeated()
    assert found is not None
    return found


def test_counts_down_the_rows_of_a_user() -> None:
    """A user with one row has none to follow, nor has one beyond those counted."""
    found = repeated("u1", "u2", "u1", "u1")

    assert [found.more_follow(user(each)) for each in ("u1", "u2", "u1", "u3", "u1", "u1")] == [
        True,
        False,
        True,
        False,
        False,
        False,
    ]


def test_no_user_is_repeated() -> None:
    """Then rows need not be looked up."""
    counts = IdCounts()

    assert (counts.add(["u1", "u2"]), counts.add([]), counts.repeated()) == (2, 0, None)


@given(st.lists(st.sampled_from([f"u{number}" for number in range(600)]), max_size=2000))
def test_finds_exactly_the_repeated_ids(ids: list[str]) -> None:
    """The last row of each user has none to follow, all others have."""
    counts = IdCounts()
    for start in range(0, len(ids), 7):
        counts.add(ids[start : start + 7])
    found, remaining = counts.repeated(), Counter(ids)

    assert (found is None) == (len(remaining) == len(ids))
    for each in ids if found is not None else ():
        remaining[each] -= 1
        assert found is not None
        assert found.more_follow(user(each)) == (remaining[each] > 0)


def test_a_collision_holds_both_users() -> None:
    """Until the last row of both."""

    class Clash(str):
        __slots__ = ()

        def __hash__(self) -> int:
            return 7

    found = repeated(Clash("u1"), Clash("u2"))
    merger = RowMerger(found)
    clashing = [attrs.evolve(user(), user_id="u1"), user("u2")]
    for each, name in zip(clashing, ("u1", "u2"), strict=True):
        object.__setattr__(each, "user_id", Clash(name))

    assert list(merger.merge(clashing)) == [clashing[1]]
    assert merger.release() == [clashing[0]]


def test_reads_the_ids_of_a_collection() -> None:
    """Of rows and of users, with the vendor's ids of those without one; anonymous users and bad rows have none."""
    vendor_user = UserTraits(vendor_ids={"b": "2", "a": "1"})
    source: list[Any] = [Row(1, user("u1")), BadRow(2, 2, "not JSON"), user("u2"), vendor_user, UserTraits(name="Ann")]

    rows = as_rows(source)

    assert list(rows.read_ids()) == ["u1", "u2", (("a", "1"), ("b", "2"))]
    assert list(rows) == [*source[:2], *(Row(line, each) for line, each in enumerate(source[2:], 3))]


def test_an_iterator_is_read_once() -> None:
    """A generator, and an object whose iterators share one cursor."""

    @attrs.define
    class Cursor:
        users: list[UserTraits]

        def __iter__(self) -> Iterator[UserTraits]:
            while self.users:
                yield self.users.pop()

    for source in ((each for each in users(3)), Cursor(users(3))):
        rows = as_rows(source)
        assert list(rows.read_ids()) == []
        assert len(list(rows)) == 3


def observed(hours: float | None, **traits: Any) -> UserTraits:
    """Return a user with *traits* that were true at that hour."""
    moment = None if hours is None else NOON + timedelta(hours=hours)
    return UserTraits("u1", traits=traits, observed_at=moment)


@pytest.mark.parametrize(
    ("updates", "traits"),
    [
        ([observed(None, a=1), observed(None, b=2), observed(None, a=3)], {"a": 3, "b": 2}),
        ([observed(2, a=1), observed(1, a=2, b=2), observed(1.5, b=3)], {"a": 1, "b": 3}),
        ([observed(2, a=1), observed(None, a=2), observed(1, a=3)], {"a": 3}),
        ([observed(1, a=1), observed(1, a=2)], {"a": 2}),
        ([observed(None, a=1), observed(1, a=2), observed(0, a=3)], {"a": 2}),
        ([observed(2, a={"x": 1}), observed(3, a={"y": 2})], {"a": {"x": 1, "y": 2}}),
    ],
)
def test_the_newest_value_of_each_field_wins(updates: Sequence[UserTraits], traits: dict[str, Any]) -> None:
    """The last one, if there are no times."""
    merged = MergedUser(updates[0])
    for update in updates[1:]:
        merged.merge(update)

    assert merged.user.traits == traits


def test_merges_as_a_ledger_does(world: World) -> None:
    """Row by row, whatever the times and fields."""
    rng = random.Random(3)  # noqa: S311  # Not for security.
    for number in range(60):
        rows = [
            attrs.evolve(
                observed(rng.choice([None, 0, 1, 2]), **{name: rng.random() for name in "abc" if rng.random() < 0.6}),
                user_id=f"u{number}",
                name=rng.choice([None, "Ann", "Bo"]),
            )
            for _ in range(4)
        ]
        merged = MergedUser(rows[0])
        for row in rows[1:]:
            merged.merge(row)
        world.ledger.upsert(rows, ["fullstory"], replace=False)

        assert merged.user == world.ledger.claim("fullstory", after=number)[0].user


def test_lets_the_oldest_user_go() -> None:
    """Memory is bounded; later rows about the user are sent on their own."""
    rows = [user("u1", a=1), user("u2", a=1), user("u1", b=2), user("u2", b=2)]
    merger = RowMerger(repeated("u1", "u2", "u1", "u2"), max_held=1)

    assert list(merger.merge(rows)) == [user("u1", a=1), user("u1", b=2), user("u2", a=1, b=2)]
    assert (merger.coalesced, merger.release()) == (1, [])


def test_anonymous_users_are_not_merged() -> None:
    """Each is another person, even if an id has the hash of none."""
    ann, no_id = UserTraits(name="Ann"), hash(None)

    assert list(RowMerger(repeated(no_id, no_id)).merge([ann, ann])) == [ann, ann]


def three_rows(count: int) -> list[UserTraits]:
    """Return three rows about each of *count* users, far apart, each with one trait of its own and one in common."""
    return [user(f"u{number}", **{f"t{part}": "x", "last": f"{part}"}) for part in range(3) for number in range(count)]


MERGED = {"t0": "x", "t1": "x", "t2": "x", "last": "2"}


def test_merges_rows_without_a_ledger(world: World) -> None:
    """One request for each user, with the values of all rows; every row is accounted for."""
    report = world.sync(three_rows(700), ledger=None)

    assert_closed(report)
    world.assert_stored({f"u{number}": MERGED for number in range(700)})
    assert world.logrocket_line.count == 700
    counts = report["logrocket"].as_dict()
    assert (report.rows, counts["given"], counts["coalesced"]) == (2100, 700, 1400)


def test_sends_held_users_if_the_source_fails(world: World) -> None:
    """What was read of them is sent."""
    source = three_rows(300)

    def rows() -> Iterator[UserTraits]:
        yield from source[:400]
        raise SourceError("export.csv", "cannot be read")

    report = world.sync(Rows(rows(), as_rows(source).read_ids), ledger=None)

    assert_closed(report)
    assert (report.stopped, report["logrocket"].accepted) == ("export.csv: cannot be read", 300)
    assert world.traits("u0") == {"t0": "x", "t1": "x", "last": "1"}
    assert world.traits("u200") == {"t0": "x", "last": "0"}


def test_a_row_that_is_bad_later_holds_nobody_back(world: World) -> None:
    """The ids promised two rows."""
    rows = Rows[Row | BadRow](iter([Row(1, user("u1", plan="pro")), BadRow(2, 2, "bad")]), lambda: iter(["u1", "u1"]))

    report = world.sync(rows, ledger=None)

    assert_closed(report)
    assert (report.rows, report.bad_row_count, report["logrocket"].accepted) == (2, 1, 1)


def test_sends_rows_that_were_not_there_before(world: World) -> None:
    """A source that grows between the two passes loses nothing."""
    source = [user("u1", a="1"), user("u1", b="2"), user("u1", c="3"), user("u2", a="1")]

    report = world.sync(Rows(iter(source), lambda: iter(["u1", "u1"])), ledger=None)

    assert_closed(report)
    world.assert_stored({"u1": {"a": "1", "b": "2", "c": "3"}, "u2": {"a": "1"}})


def test_delivers_if_the_ids_cannot_be_read(world: World) -> None:
    """The rows say what is wrong, if anything is."""

    def ids() -> Iterator[str]:
        yield "u1"
        raise OSError

    report = world.sync(Rows(iter([user("u1", plan="pro")]), ids))

    assert (report.stopped, report["logrocket"].accepted) == (None, 1)


def test_an_interrupt_before_the_rows_sends_nothing(world: World) -> None:
    """Neither are rows read."""

    def ids() -> Iterator[str]:
        yield "u1"
        raise KeyboardInterrupt

    world.ledger.upsert([user("u0", plan="pro")], ["fullstory", "logrocket"])
    report = world.sync(Rows(iter([user("u1", plan="pro")]), ids))

    assert_closed(report)
    assert (report.stopped, report.rows, report.pending) == ("interrupted", 0, 2)
    assert (world.fullstory_line.count, world.logrocket_line.count) == (0, 0)


def test_a_stop_ends_the_reading_of_ids(world: World) -> None:
    """Nothing is sent."""
    stop = threading.Event()

    def ids() -> Iterator[str]:
        for number in range(10**9):
            if number > 50_000:
                stop.set()
            yield f"u{number % 50_000}"

    report = world.sync(Rows(iter(users(3)), ids), stop=stop)

    assert_closed(report)
    assert (report.stopped, report.rows, world.logrocket_line.count) == ("stopped", 3, 0)


def test_counts_held_users_as_pending_after_a_stop(world: World) -> None:
    """Without a ledger they are in memory only."""
    stop, source = threading.Event(), three_rows(100)

    def rows() -> Iterator[UserTraits]:
        stop.set()
        yield from source

    report = world.sync(Rows(rows(), as_rows(source).read_ids), stop=stop, ledger=None)

    assert_closed(report)
    assert (report.rows, report["logrocket"].pending) == (250, 100)


def test_reports_progress_while_ids_are_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large file takes a while."""
    monkeypatch.setattr("replay_identity.bulk.run._PROGRESS_INTERVAL_S", 0.0)
    seen: list[int] = []
    ids_read = 0

    def ids() -> Iterator[str]:
        nonlocal ids_read
        for ids_read in range(60_000):  # noqa: B007  # Counted.
            yield "u1"

    def report_progress(_: Sequence[Progress]) -> None:
        seen.append(ids_read)

    world.sync(Rows(iter(users(1)), ids), on_progress=report_progress)

    assert {20_000, 40_000} <= {round(count, -1) for count in seen}


ORDERS: dict[str, Callable[[list[list[Any]]], list[Any]]] = {
    "grouped": lambda rows: [row for of_user in rows for row in of_user],
    "interleaved": lambda rows: [row for part in zip(*rows, strict=True) for row in part],
    "reversed": lambda rows: [row for part in zip(*rows, strict=True) for row in part][::-1],
    "shuffled": lambda rows: random.Random(7).sample(ORDERS["grouped"](rows), sum(map(len, rows))),  # noqa: S311
}
ORDER = pytest.mark.parametrize("order", ORDERS)
TIMED = pytest.mark.parametrize("timed", [False, True], ids=["untimed", "timed"])


def source_rows(count: int, order: str, *, timed: bool) -> list[dict[str, str]]:
    """Return three rows about each of *count* users in *order*, as the fields of a file."""
    moments = [{"at": (NOON + timedelta(hours=part)).isoformat()} if timed else {} for part in range(3)]
    rows = [
        [{"user_id": f"u{number}", "plan": f"p{part}", "seats": str(part), **moments[part]} for part in range(3)]
        for number in range(count)
    ]
    return ORDERS[order](rows)


def write_rows(rows: list[dict[str, str]], kind: str, folder: Path) -> Callable[[], Any]:
    """Return a function that returns *rows* as a source of that kind."""
    mapping = RowMapping(observed_at="at" if "at" in rows[0] else None)
    if kind == "list":
        compiled = CompiledMapping.compile(mapping)
        source = [compiled.to_user(dict(row)) for row in rows]
        return lambda: source
    path, lines = folder / f"users.{kind}", folder / "users.jsonl"
    lines.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    if kind != "jsonl":
        with duckdb.connect() as connection:
            types = dict.fromkeys(rows[0], "VARCHAR")
            connection.execute(f"COPY (FROM read_json('{lines}', columns={types})) TO '{path}' (FORMAT {kind})")
    return lambda: read_users(path, mapping=mapping)


def expected(rows: list[dict[str, str]]) -> dict[str, dict[str, str]]:
    """Return the newest traits of each user, or those of the last row if there are no times."""
    newest = sorted(rows, key=lambda row: row.get("at", ""))
    return {row["user_id"]: {"plan": row["plan"], "seats": row["seats"]} for row in newest}


@ORDER
@TIMED
@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet", "list"])
def test_a_file_is_one_state(  # Three parameters.
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: str, kind: str, *, timed: bool
) -> None:
    """Each user is sent once with the final state, and never again."""
    monkeypatch.setattr("replay_identity.bulk.run._FIRST_CHUNK_ROWS", 3)
    monkeypatch.setattr("replay_identity.bulk.run._MAX_CHUNK_ROWS", 20)
    rows = source_rows(40, order, timed=timed)
    source = write_rows(rows, kind, tmp_path)

    report, again = world.sync(source()), world.sync(source())

    world.assert_stored(expected(rows))
    assert (world.fullstory.total_applied, world.logrocket_line.count) == (40, 40)
    for each in (report, again):
        assert_closed(each)
        assert each.rows == 120
        assert [backend.given for backend in each.backends] == [40, 40]
    assert [backend.accepted for backend in report.backends] == [40, 40]
    assert [backend.unchanged for backend in again.backends] == [40, 40]


def test_sends_4000_users_of_12000_rows_once(world: World) -> None:
    """And then none."""
    source = ORDERS["interleaved"]([[user(f"u{number}", seats=part) for part in range(3)] for number in range(4000)])
    world.backends = world.backends[1:]
    options = {"options": {"logrocket": FAST}}

    reports = [world.sync(source, **options) for _ in range(2)]

    assert world.logrocket_line.count == 4000
    assert [report["logrocket"].unchanged for report in reports] == [0, 4000]


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read two rows at once."""
    monkeypatch.setattr("replay_identity.bulk.run._FIRST_CHUNK_ROWS", 2)
    monkeypatch.setattr("replay_identity.bulk.run._MAX_CHUNK_ROWS", 2)


@pytest.mark.usefixtures("small_chunks")
def test_a_later_row_erases_no_earlier_one(world: World) -> None:
    """Of a user who was confirmed before, and of one who was rejected."""
    too_long = "x" * 2000
    first = [user("u1", a="0"), user("u2", bad=too_long)]
    world.sync(first, ledger=world.ledger)
    rows = [user("u1", a="1"), user("u2", bad=too_long), user("u1", b="2"), user("u2", b="2"), user("u1", a="3")]

    world.sync([*rows, user("u3"), user("u2", bad="short", c="3")])

    assert world.traits("u1") == {"a": "3", "b": "2"}
    assert world.traits("u2") == {"bad": "short", "b": "2", "c": "3"}


@pytest.mark.usefixtures("small_chunks")
def test_rows_kept_of_a_rejected_user(world: World) -> None:
    """A first row that changes nothing is still part of what the rows say."""
    rejected = user("u1", bad="x" * 2000, a="1")
    world.sync([rejected])

    report = world.sync([rejected, user("u2"), user("u3"), user("u1", b="2")])
    [kept] = [each.user for each in world.ledger.rejected("logrocket")]

    assert_closed(report)
    assert dict(kept.traits) == {**rejected.traits, "b": "2"}


@pytest.mark.usefixtures("small_chunks")
def test_rejected_rows_are_not_sent_again(world: World) -> None:
    """The next run counts a user with several rows as rejected, without a request."""
    rows = [user("u1", plan="a"), user("u2", plan="a"), user("u3", plan="a"), user("u1", plan="b")]
    world.logrocket.faults.add(Fault(status=400, times=None))
    assert world.sync(rows)["logrocket"].rejected == 3
    world.logrocket.faults.clear()

    report = world.sync(rows)

    assert_closed(report)
    assert (report["logrocket"].rejected, report["logrocket"].accepted) == (3, 0)
    assert not world.logrocket.users


@pytest.mark.usefixtures("small_chunks")
def test_counts_a_user_once(world: World) -> None:
    """Even if the first row alone would be unchanged, and if nothing is changed or all is rejected."""
    world.sync([user("u1", a="1"), user("u2", a="1"), user("u3", a="x" * 2000)])
    rows = [user("u1", a="1"), user("u2", a="1"), user("u3", a="x" * 2000)]

    report = world.sync([*rows, user("u1", a="2"), *rows[1:]])

    assert_closed(report)
    backend = report["logrocket"]
    assert (backend.given, backend.accepted, backend.unchanged, backend.rejected) == (3, 1, 1, 1)


@pytest.mark.usefixtures("small_chunks")
def test_holds_users_in_the_ledger_only_for_the_run(world: World) -> None:
    """A run that is stopped leaves them pending, and the next one sends them."""
    stop, source = threading.Event(), three_rows(4)

    def rows() -> Iterator[UserTraits]:
        yield from source[:9]
        stop.set()
        yield from source[9:]

    report = world.sync(Rows(rows(), as_rows(source).read_ids), stop=stop)

    assert_closed(report)
    assert world.traits("u3") is None
    assert_closed(world.sync(source))
    world.assert_stored({f"u{number}": MERGED for number in range(4)})


@pytest.mark.usefixtures("small_chunks")
def test_sends_users_held_in_the_ledger_if_the_source_fails(world: World) -> None:
    """What was read of them is sent."""
    source = three_rows(30)

    def rows() -> Iterator[UserTraits]:
        yield from source[:40]
        raise SourceError("export.csv", "cannot be read")

    report = world.sync(Rows(rows(), as_rows(source).read_ids))

    assert_closed(report)
    assert (report["logrocket"].accepted, report["fullstory"].accepted) == (30, 30)


@pytest.mark.usefixtures("small_chunks")
def test_held_users_are_no_backlog(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading on is what releases them."""
    monkeypatch.setattr("replay_identity.bulk.run._MAX_BACKLOG", 3)

    report = world.sync(three_rows(20))

    assert_closed(report)
    world.assert_stored({f"u{number}": MERGED for number in range(20)})


@pytest.mark.usefixtures("small_chunks")
def test_a_dry_run_counts_as_the_run_does(world: World) -> None:
    """Before the first run, and before one that sends nothing."""
    source = three_rows(20)
    for _ in range(2):
        tried = dry_run(source, world.backends, ledger=world.ledger)
        report = world.sync(source)
        assert [each.upserts for each in tried.report.backends] == [each.upserts for each in report.backends]
        assert [(each.accepted, each.unchanged) for each in tried.report.backends] == [
            (each.accepted, each.unchanged) for each in report.backends
        ]


def test_migrates_a_file_with_repeated_users(world: World) -> None:
    """The rows of a file are merged, and each counts in the statistics."""
    source = three_rows(300)

    report = migrate(
        FileSource("users.csv", [Row(line, each) for line, each in enumerate(source, 1)]),
        world.backends,
        ledger=world.ledger,
        options=world.options,
        transport=world.sender,
    )

    assert (report.run.rows, world.logrocket_line.count) == (900, 300)
