"""A mirrored source: who vanished from it, and who is deleted at the vendors."""

import threading
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import attrs
import pytest
from support.backends import Acme
from support.in_process import CrashError, World
from support.ledgers import bytes_on_disk

from replay_identity import ConfigurationError, Rejected, SourceError, UserTraits
from replay_identity.bulk import Mirror, MirrorReport, MirrorState, dry_run, sync
from replay_identity.deletion import DeletionReceipt
from replay_identity.emulator import Fault
from replay_identity.ledger import Batch, JobEntry, Ledger
from replay_identity.mapping import RowMapping
from replay_identity.sources import BadRow, read_rows

ALL: Final = 10_000


@attrs.define
class Vanished:
    """Collects the users who vanished, with the status of their receipts."""

    users: dict[str, list[str]] = attrs.field(factory=dict[str, list[str]])

    def __call__(self, user_id: str, receipts: Sequence[DeletionReceipt]) -> None:
        """Add one user."""
        self.users[user_id] = [receipt.status for receipt in receipts]


def users(*numbers: int) -> list[UserTraits]:
    """Return users u00, u01, and so on."""
    return [UserTraits(f"u{number:02}", traits={"plan": "pro"}) for number in numbers]


def mirrored(world: World, source: Any, mirror: Mirror | None = None, **options: Any) -> MirrorReport:
    """Sync *source*, which is mirrored, and return the mirror's part of the report."""
    report = world.sync(source, mirror=mirror or Mirror("report"), **options).mirror
    assert report is not None
    return report


def forget_all(on_vanished: Callable[[str, Sequence[DeletionReceipt]], None] | None = None) -> Mirror:
    """Return a mirror that deletes any number of users."""
    return Mirror("forget", max_deletions=ALL, on_vanished=on_vanished)


def vanished_ids(ledger: Ledger) -> list[str]:
    """Return the ids of the users that the next complete run would find vanished if its source had nobody."""
    return [user.user_id for user in ledger.vanished(ALL)]


# Who vanished


def test_the_first_run_only_remembers(world: World) -> None:
    """Nobody was there before."""
    report = mirrored(world, users(1, 2))

    assert (report.state, report.known, report.vanished) == (MirrorState.FIRST_RUN, 0, 0)


def test_users_who_are_gone_have_vanished(world: World) -> None:
    """They are reported again until they return; a new user has not vanished."""
    listed = Vanished()
    mirrored(world, users(1, 2, 3))

    first = mirrored(world, users(1, 4), Mirror("report", on_vanished=listed))
    again = mirrored(world, users(1, 4))
    returned = mirrored(world, users(1, 2, 4))

    assert (first.state, first.known, first.vanished) == (MirrorState.COMPLETE, 3, 2)
    assert listed.users == {"u02": [], "u03": []}
    assert again.vanished == 2
    assert returned.vanished == 1


def test_without_a_mirror_no_id_is_kept(world: World) -> None:
    """The ids of delivered users are erased."""
    world.sync(users(1))

    assert world.ledger.vanished(ALL) == []


def test_a_user_of_another_run_has_not_vanished(world: World) -> None:
    """Only users of mirrored runs can vanish."""
    world.sync(users(9))
    mirrored(world, users(1))

    assert mirrored(world, users(1)).vanished == 0


def test_a_source_larger_than_a_chunk_is_marked(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The users are marked in several transactions."""
    monkeypatch.setattr("replay_identity.bulk.mirror._MARKED_AT_ONCE", 2)
    mirrored(world, users(1, 2, 3, 4, 5))

    assert mirrored(world, users(1, 2, 3, 5)).vanished == 1


# Sources that are not complete


def test_an_empty_source_is_never_complete(world: World) -> None:
    """An export that failed must not delete everybody; the same is true of one without ids of ours."""
    mirrored(world, users(1))

    for source in ([], [UserTraits(vendor_ids={"fullstory": "7"})]):
        report = mirrored(world, source, forget_all())
        assert (report.state, report.vanished) == (MirrorState.NO_USERS, 0)


def test_users_who_are_left_out_have_not_vanished(world: World) -> None:
    """A filter of the mapping left their rows out."""
    mirrored(world, users(1, 2))
    mapping = RowMapping(where={"status": "active"})
    rows = [{"id": "u1", "status": "active"}, {"id": "u2", "status": "idle"}]

    report = mirrored(world, read_rows(rows, mapping=mapping), forget_all())

    assert (report.state, report.vanished) == (MirrorState.LEFT_OUT, 0)


def test_a_bad_row_may_be_anybody(world: World) -> None:
    """The user of the bad row is missing among the users."""
    mirrored(world, users(1, 2))

    report = mirrored(world, [*users(1), BadRow(2, 2, "not JSON")], forget_all())

    assert (report.state, report.vanished) == (MirrorState.BAD_ROWS, 0)
    assert world.properties("u02") is not None


def test_a_source_that_fails_is_not_complete(world: World) -> None:
    """What follows was not read."""
    mirrored(world, users(1, 2))

    def failing() -> Iterator[UserTraits]:
        yield from users(1)
        raise SourceError("users.csv", "truncated")

    assert mirrored(world, failing()).state is MirrorState.NOT_READ


def test_a_run_that_is_stopped_is_not_complete(world: World) -> None:
    """It does not matter whether the source was read to its end."""
    mirrored(world, users(1, 2))
    stop = threading.Event()
    stop.set()

    assert mirrored(world, iter(users(1)), stop=stop).state is MirrorState.NOT_READ


@pytest.mark.parametrize("read", range(5))
def test_a_killed_run_makes_nobody_vanish(world: World, read: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever rows it had read; also if it was the first run."""
    monkeypatch.setattr("replay_identity.bulk.mirror._MARKED_AT_ONCE", 1)
    monkeypatch.setattr("replay_identity.bulk.run._FIRST_CHUNK_ROWS", 1)

    def killed(count: int) -> Iterator[UserTraits]:
        yield from users(1, 2, 3, 4)[:count]
        raise CrashError

    for complete in range(3):
        with pytest.raises(CrashError):
            mirrored(world, killed(read), forget_all())
        world.restart()
        report = mirrored(world, users(1, 2, 3, 4), forget_all())
        assert report.vanished == 0
        assert report.state is (MirrorState.COMPLETE if complete else MirrorState.FIRST_RUN)
    world.assert_stored({f"u{number:02}": {"plan": "pro"} for number in (1, 2, 3, 4)})


def test_committed_users_are_marked(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user who was upserted by a run that was killed can vanish, too; the caller's callback is called as well."""
    monkeypatch.setattr("replay_identity.bulk.run._FIRST_CHUNK_ROWS", 1)
    committed: list[int] = []

    def killed() -> Iterator[UserTraits]:
        yield from users(1)
        assert committed == [1]
        assert vanished_ids(world.ledger) == ["u01"]
        raise CrashError

    with pytest.raises(CrashError):
        mirrored(world, killed(), on_committed=committed.append)


def test_a_user_of_a_failed_run_can_vanish(world: World) -> None:
    """The user was sent, and the next complete source does not have them any more."""
    mirrored(world, users(1))

    def killed() -> Iterator[UserTraits]:
        yield from users(1, 2)
        raise SourceError("users.csv", "truncated")

    mirrored(world, killed())

    assert mirrored(world, users(1)).vanished == 1


def test_overlapping_runs_agree(world: World) -> None:
    """The older run does not undo the marks of the newer one."""
    mirrored(world, users(1, 2))
    older, newer = world.ledger.begin_mirror(), world.ledger.begin_mirror()
    world.ledger.mark_mirrored(newer.run, ["u01", "u02"])
    world.ledger.mark_mirrored(older.run, ["u01", "u02"])

    assert world.ledger.end_mirror(newer.run) == 0
    assert world.ledger.end_mirror(older.run) == 0


# Deletions


def test_vanished_users_are_deleted_with_receipts(world: World) -> None:
    """At both vendors and in the ledger; the others stay."""
    listed = Vanished()
    mirrored(world, users(1, 2, 3))

    report = mirrored(world, users(1), forget_all(listed))

    assert (report.vanished, report.deleted, report.max_deletions) == (2, 2, ALL)
    assert report.receipts == {"fullstory": {"requested": 2}, "logrocket": {"requested": 2}}
    assert (report.retryable, report.misconfigured, report.problem) == (False, False, None)
    assert listed.users == {"u02": ["requested", "requested"], "u03": ["requested", "requested"]}
    assert world.fullstory.by_uid("u02") is None
    assert world.fullstory.by_uid("u01") is not None
    assert world.logrocket.excluded == {("user_id", "u02"), ("user_id", "u03")}
    assert vanished_ids(world.ledger) == ["u01"]
    assert [counts.confirmed for counts in world.ledger.counts()] == [1, 1]


def test_nobody_is_deleted_twice(world: World) -> None:
    """Once the vendor has the request, it is not asked again."""
    mirrored(world, users(1, 2))
    mirrored(world, users(1), forget_all())
    before = [line.count for line in world.lines]

    report = mirrored(world, users(1), forget_all())

    assert (report.known, report.vanished, report.deleted) == (1, 0, 0)
    assert [line.count for line in world.lines] == before


def test_a_vendor_that_refuses_is_asked_again(world: World) -> None:
    """The other one is not, since it has accepted."""
    listed = Vanished()
    mirrored(world, users(1, 2))
    world.logrocket.faults.add(Fault(status=400))

    first = mirrored(world, users(1), forget_all(listed))
    before = world.fullstory_line.count
    second = mirrored(world, users(1), forget_all(listed))

    assert (first.vanished, first.deleted) == (1, 0)
    assert first.receipts == {"fullstory": {"requested": 1}, "logrocket": {"failed": 1}}
    assert (second.vanished, second.deleted) == (1, 1)
    assert second.receipts == {"logrocket": {"requested": 1}}
    assert world.fullstory_line.count == before
    assert listed.users == {"u02": ["requested"]}
    assert vanished_ids(world.ledger) == ["u01"]


def test_a_user_who_returns_is_sent_again(world: World) -> None:
    """Whatever was deleted before."""
    mirrored(world, users(1, 2))
    world.logrocket.faults.add(Fault(status=400))
    mirrored(world, users(1), forget_all())

    report = mirrored(world, users(1, 2), forget_all())

    assert report.vanished == 0
    assert world.properties("u02") == {"plan": "pro"}
    assert mirrored(world, users(1), forget_all()).receipts == {
        "fullstory": {"requested": 1},
        "logrocket": {"requested": 1},
    }


def test_a_kill_between_ledger_and_vendor_loses_nobody(world: World) -> None:
    """The user is forgotten, but not deleted yet: the next run deletes them."""
    mirrored(world, users(1, 2))

    def die(_: int) -> None:
        raise CrashError

    world.fullstory_line.before = die
    with pytest.raises(CrashError):
        mirrored(world, users(1), forget_all())
    world.reset_hooks()
    world.restart()
    assert world.ledger.status_of("u02") is None

    report = mirrored(world, users(1), forget_all())

    assert (report.vanished, report.deleted) == (1, 1)
    assert world.fullstory.by_uid("u02") is None


def test_many_users_are_deleted_page_by_page(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each page has leases and a transaction of its own."""
    monkeypatch.setattr("replay_identity.bulk.mirror._DELETED_AT_ONCE", 2)
    mirrored(world, users(*range(7)))

    report = mirrored(world, users(0), forget_all())

    assert (report.vanished, report.deleted) == (6, 6)
    assert [user.uid for user in world.fullstory.users.values() if user.uid == "u00"] == ["u00"]
    assert len(world.logrocket.excluded) == 6


@pytest.mark.parametrize(
    ("limit", "known", "allowed"),
    [(3, 100, 3), ("3", 100, 3), ("5%", 100, 5), ("5 %", 39, 1), ("29%", 100, 29), ("0.5%", 1000, 5), ("100%", 7, 7)],
)
def test_a_limit_is_a_number_or_a_percentage(limit: int | str, known: int, allowed: int) -> None:
    """Percentages are rounded down, exactly."""
    assert Mirror("forget", max_deletions=limit).limit(known) == allowed


@pytest.mark.parametrize("limit", ["", "five", "-1", "101%", "5.%", -1, True, 5.0])
def test_any_other_limit_is_a_mistake(limit: Any) -> None:
    """It is found before anything is sent."""
    with pytest.raises(ConfigurationError):
        Mirror("forget", max_deletions=limit)


def test_an_unknown_action_is_a_mistake() -> None:
    """There are two."""
    with pytest.raises(ConfigurationError):
        Mirror("delete")  # type: ignore[arg-type]


def test_too_many_vanished_deletes_nobody(world: World) -> None:
    """By default more than 5 % of the users known before; they are listed."""
    listed = Vanished()
    mirrored(world, users(*range(39)))

    report = mirrored(world, users(*range(37)), Mirror("forget", on_vanished=listed))

    assert report.state is MirrorState.TOO_MANY
    assert (report.vanished, report.max_deletions, report.deleted) == (2, 1, 0)
    assert listed.users == {"u37": [], "u38": []}
    assert world.fullstory.by_uid("u38") is not None
    assert not world.logrocket.excluded
    assert mirrored(world, users(*range(38)), Mirror("forget")).deleted == 1


def test_a_user_in_a_job_is_postponed(world: World) -> None:
    """The user stays on the list, and the ledger forgets nothing of them."""
    mirrored(world, users(1, 2))
    # The job of a backend that this run does not have never ends.
    world.ledger.upsert(users(2), ["acme"])
    job = world.ledger.start_job("acme", Batch("key", [JobEntry(2, 1, "u02")], b"body"))

    report = mirrored(world, users(1), forget_all())

    assert report.receipts == {"fullstory": {"postponed": 1}, "logrocket": {"postponed": 1}}
    assert (report.deleted, report.retryable) == (0, True)
    assert world.ledger.status_of("u02") is not None
    assert world.fullstory.by_uid("u02") is not None
    world.ledger.end_job("acme", job)
    assert mirrored(world, users(1), forget_all()).deleted == 1


def test_another_process_that_delivers_postpones_all(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It could send the user again."""
    monkeypatch.setattr("replay_identity.bulk.mirror.LEASE_TIMEOUT_S", 0.0)
    mirrored(world, users(1, 2))
    lease = Ledger.lease

    @contextmanager
    def busy_once_delivered(ledger: Ledger, backend: str) -> Generator[bool]:
        with lease(ledger, backend) as is_ours:
            yield is_ours and threading.current_thread() is not threading.main_thread()

    monkeypatch.setattr(Ledger, "lease", busy_once_delivered)

    report = mirrored(world, users(1), forget_all())

    assert report.problem == "another process delivers to fullstory"
    assert (report.deleted, report.retryable) == (0, True)
    assert world.fullstory.by_uid("u02") is not None


def test_a_wrong_key_ends_the_deletions(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody else is asked for; those who are left are deleted by a later run."""
    monkeypatch.setattr("replay_identity.bulk.mirror._DELETED_AT_ONCE", 1)
    mirrored(world, users(1, 2, 3))
    world.logrocket.faults.add(Fault(status=401))

    report = mirrored(world, users(1), forget_all())

    assert report.problem is not None
    assert report.problem.startswith("logrocket: HTTP 401")
    assert (report.misconfigured, report.retryable, report.deleted) == (True, True, 0)
    assert not world.logrocket.excluded
    assert mirrored(world, users(1), forget_all()).deleted == 2


def test_an_outage_ends_the_deletions(world: World) -> None:
    """After the patience of the backend."""
    mirrored(world, users(*range(20)))
    world.options = {name: attrs.evolve(options, patience=1e-9) for name, options in world.options.items()}
    world.logrocket.faults.add(Fault(status=503, times=None))

    report = mirrored(world, users(0), forget_all())

    assert report.problem is not None
    assert report.problem.startswith("logrocket: no successful response for ")
    assert report.receipts["fullstory"] == {"requested": 19}
    assert set(report.receipts["logrocket"]) == {"failed"}
    world.logrocket.faults.clear()
    assert mirrored(world, users(0), forget_all()).receipts == {"logrocket": {"requested": 19}}


def test_a_delivery_that_failed_deletes_nobody(world: World) -> None:
    """A vendor that is down would not delete users either."""
    listed = Vanished()
    mirrored(world, users(1, 2))
    world.options = {name: attrs.evolve(options, patience=0.02) for name, options in world.options.items()}
    world.logrocket.faults.add(Fault(status=503, times=None))

    report = mirrored(world, users(1, 3), forget_all(listed))

    assert report.problem is not None
    assert (report.vanished, report.deleted, report.retryable) == (1, 0, True)
    assert listed.users == {"u02": []}
    assert world.fullstory.by_uid("u02") is not None


def test_stopping_ends_the_deletions(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was deleted is stored, and the rest is left to the next run."""
    monkeypatch.setattr("replay_identity.bulk.mirror._DELETED_AT_ONCE", 1)
    mirrored(world, users(1, 2, 3))
    stop = threading.Event()
    mirror = forget_all(lambda _, __: stop.set())

    report = world.sync(users(1), mirror=mirror, stop=stop)

    assert report.stopped == "stopped"
    assert report.mirror is not None
    assert (report.mirror.vanished, report.mirror.deleted) == (2, 1)
    assert mirrored(world, users(1), forget_all()).deleted == 1


def test_stopping_within_a_page_starts_no_more(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user has no receipt if no vendor was asked."""
    mirrored(world, users(1, 2))
    stop = threading.Event()
    forget_vanished = Ledger.forget_vanished

    def stop_before_requests(ledger: Ledger, user_ids: Collection[str]) -> set[str]:
        stop.set()
        return forget_vanished(ledger, user_ids)

    monkeypatch.setattr(Ledger, "forget_vanished", stop_before_requests)

    report = world.sync(users(1), mirror=forget_all(), stop=stop)

    assert report.stopped == "stopped"
    assert report.mirror is not None
    assert (report.mirror.receipts, report.mirror.deleted) == ({}, 0)
    assert vanished_ids(world.ledger) == ["u01", "u02"]


def test_stopping_ends_a_long_wait(world: World) -> None:
    """A vendor may ask for a pause that is longer than anybody wants to wait."""
    mirrored(world, users(*range(40)))
    stop = threading.Event()
    world.logrocket.faults.add(Fault(status=429, headers={"retry-after": "20"}))
    world.reset_hooks()
    world.fullstory_line.after = lambda number: stop.set() if number == 30 else None

    report = world.sync(users(0), mirror=forget_all(), stop=stop)

    assert report.stopped == "stopped"
    # Those that were sent before the vendor asked for the pause.
    assert len(world.logrocket.excluded) < 8


def test_ctrl_c_stores_the_receipts(world: World) -> None:
    """The report is returned."""
    mirrored(world, users(1, 2))

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    world.logrocket_line.before = interrupt
    report = world.sync(users(1), mirror=forget_all())
    world.reset_hooks()

    assert report.stopped == "interrupted"
    assert report.mirror is not None
    assert report.mirror.deleted == 0
    assert mirrored(world, users(1), forget_all()).deleted == 1


def test_a_vendor_that_cannot_delete_is_final(world: World) -> None:
    """The receipt says so once; there is nothing to try again."""
    mirrored(world, users(1, 2))
    world.backends = [world.backends[1], Acme()]
    world.options = {}
    mirrored(world, users(1, 2))

    report = mirrored(world, users(1), forget_all())

    assert report.receipts == {"logrocket": {"requested": 1}, "acme": {"unsupported": 1}}
    assert (report.vanished, report.deleted) == (1, 1)
    assert mirrored(world, users(1), forget_all()).vanished == 0


def test_a_vendors_refusal_is_in_the_receipt(world: World) -> None:
    """The callback gets the whole receipt."""
    receipts: list[DeletionReceipt] = []
    mirrored(world, users(1, 2))
    world.logrocket.faults.add(Fault(status=400))

    mirrored(world, users(1), forget_all(lambda _, given: receipts.extend(given)))

    assert isinstance(receipts[1].outcome, Rejected)


# Forgetting, dry runs and wrong usage


def test_forget_erases_the_id(world: World) -> None:
    """Then the user cannot vanish; an id in the mirror alone counts as known."""
    mirrored(world, users(1, 2))
    world.ledger.forget("u02")
    world.ledger.mark_mirrored(1, ["u03"])

    assert vanished_ids(world.ledger) == ["u01", "u03"]
    assert world.ledger.forget("u03")
    assert not world.ledger.forget("u03")
    assert mirrored(world, users(1)).vanished == 0


def test_a_deleted_id_leaves_the_disk(world: World) -> None:
    """It was there as plain text, to delete the user by."""
    mirrored(world, [*users(1), UserTraits("canary-vanished")])
    assert b"canary-vanished" in bytes_on_disk(world.path)

    mirrored(world, users(1), forget_all())
    world.restart()

    assert b"canary-vanished" not in bytes_on_disk(world.path)


def test_a_dry_run_deletes_nobody(world: World) -> None:
    """It lists who would be deleted, and leaves the ledger as it was."""
    listed = Vanished()
    mirrored(world, users(1, 2))
    before = [line.count for line in world.lines]

    report = dry_run(users(1), world.backends, ledger=world.ledger, mirror=forget_all(listed)).report

    assert report.mirror is not None
    assert (report.mirror.vanished, report.mirror.deleted, report.mirror.max_deletions) == (1, 0, ALL)
    assert listed.users == {"u02": []}
    assert [line.count for line in world.lines] == before
    assert mirrored(world, users(1, 2)).vanished == 0


def test_a_mirror_needs_a_ledger(world: World) -> None:
    """Without one, nobody knows who was there before."""
    with pytest.raises(ConfigurationError):
        sync(users(1), world.backends, ledger=None, mirror=Mirror("report"))


def test_a_dict_has_no_ids(world: World) -> None:
    """It has counts and the state."""
    mirrored(world, users(1, 2))

    report = world.sync(users(1), mirror=forget_all())

    assert report.as_dict()["mirror"] == {
        "known": 2,
        "state": "complete",
        "vanished": 1,
        "max_deletions": ALL,
        "deleted": 1,
        "receipts": {"fullstory": {"requested": 1}, "logrocket": {"requested": 1}},
        "problem": None,
        "retryable": False,
        "misconfigured": False,
    }
    assert "u02" not in repr(report)
    assert world.sync(users(1)).as_dict()["mirror"] is None


def test_a_repr_hides_the_id(world: World) -> None:
    """A vanished user is a person."""
    mirrored(world, [UserTraits("canary")])

    assert "canary" not in repr(world.ledger.vanished(ALL))
