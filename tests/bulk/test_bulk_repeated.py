"""Several rows about one user in one source are merged before anything is sent."""

import random
import threading
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.in_process import World, assert_closed
from support.users import user, users

from replay_identity import UserTraits
from replay_identity.bulk import Progress
from replay_identity.bulk.repeated import IdCounts, MergedUser, RepeatedUsers, RowMerger, as_rows
from replay_identity.errors import SourceError
from replay_identity.sources import BadRow, Row, Rows

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
    assert list(rows) == source


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
    assert (merger.pop_coalesced(), merger.pop_coalesced(), merger.release()) == (1, 0, [])


def test_anonymous_users_are_not_merged() -> None:
    """Each is another person."""
    ann = UserTraits(name="Ann")

    assert list(RowMerger(repeated("u1", "u1")).merge([ann, ann])) == [ann, ann]


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
