"""A run asks whose key it has, and the account is named after the organisation; without an answer nothing changes."""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Event
from typing import Any, Final

import attrs
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from support.accounts import Gateway, fullstory, logrocket
from support.in_process import FAST, CrashError, InProcessSender, Line, assert_closed
from support.users import user, users

from replay_identity import Fullstory, UserTraits
from replay_identity.adapters import Exchange, KeyInfo, Request, Response
from replay_identity.bulk import BackendReport, DurableRouter, Mirror, deliver, dry_run, explain, sync
from replay_identity.emulator import Fault, FullstoryEmulator
from replay_identity.ledger import Account, Ledger
from replay_identity.retry import RetryPolicy

# Two keys of each of two organisations.
ORGANISATIONS: Final = {"na1.a": "A", "na1.rotated": "A", "na1.b": "B", "na1.other": "B"}
NO_ANSWER: Final = {
    "wrong key": Fault(status=401, path="/me", times=None),
    "no permission": Fault(status=403, path="/me", times=None),
    "not found": Fault(status=404, path="/me", times=None),
    "too many requests": Fault(status=429, headers={"retry-after": "60"}, path="/me", times=None),
    "down": Fault(status=503, path="/me", times=None),
    "a login page": Fault(garbage="html", path="/me", times=None),
    "an empty body": Fault(garbage="empty", path="/me", times=None),
    "broken JSON": Fault(garbage="broken", path="/me", times=None),
    "no connection": Fault(drop="before", path="/me", times=None),
}
SILENT: Final = NO_ANSWER["no permission"]
ROWS: Final = users(3, plan="pro")


@attrs.define(eq=False)
class Vendor:
    """Two organisations of Fullstory at one URL, and a ledger.

    Attributes:
        path: Path of the ledger.
        organisations: The emulators by organisation.
        keys: Emulator and its own key, by the key of a request.
    """

    path: Path
    organisations: dict[str, FullstoryEmulator] = attrs.field(init=False)
    keys: dict[str, tuple[FullstoryEmulator, str]] = attrs.field(init=False)
    ledger: Ledger = attrs.field(init=False)
    line: Line = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.organisations = {name: FullstoryEmulator(keeps_history=True, organisation=name) for name in "AB"}
        self.keys = {key: (self.organisations[name], "na1.emulator") for key, name in ORGANISATIONS.items()}
        self.line, self.ledger = Line(Gateway(self.keys)), Ledger(self.path)

    def sender(self, _connections: int) -> InProcessSender:
        """Return a sender."""
        return InProcessSender({1: self.line})

    def sync(self, key: str, rows: Sequence[UserTraits] = ROWS, **options: Any) -> BackendReport:
        """Sync *rows* with that key."""
        given: dict[str, Any] = {"options": {"fullstory": FAST}, "transport": self.sender, **options}
        report = sync(rows, [fullstory(key)], ledger=self.ledger, **given)
        assert_closed(report)
        return report["fullstory"]

    def silence(self, fault: Fault = SILENT) -> None:
        """Let no request for the organisation of a key get a usable answer."""
        for emulator in self.organisations.values():
            emulator.faults.add(fault)

    def answer(self) -> None:
        """Let requests get an answer again."""
        for emulator in self.organisations.values():
            emulator.faults.clear()

    def stored(self, organisation: str) -> dict[str, dict[str, Any]]:
        """Return the properties of each user of an organisation."""
        return {each.uid or "": dict(each.properties) for each in self.organisations[organisation].users.values()}

    def close(self) -> None:
        """Close everything."""
        self.ledger.close()
        self.line.loop.close()


@pytest.fixture
def vendor(tmp_path: Path) -> Iterator[Vendor]:
    """Yield two organisations without users."""
    vendor = Vendor(tmp_path / "ledger.db")
    yield vendor
    vendor.close()


def names(ledger: Ledger) -> list[str]:
    """Return the name of each account, the one used last at the end."""
    return [counts.account for counts in ledger.counts()]


# With an answer.


def test_the_organisation_names_the_account(vendor: Vendor) -> None:
    """The report says so, and one more request is sent than users need."""
    report = vendor.sync("na1.a")

    assert report.account == "127.0.0.1:1 org A"
    assert [request.path for request in vendor.organisations["A"].requests].count("/me") == 1
    assert names(vendor.ledger) == ["127.0.0.1:1 org A"]


def test_a_new_key_needs_no_flag(vendor: Vendor) -> None:
    """Nothing is sent again, and nothing is worth a note."""
    vendor.sync("na1.a")
    before = vendor.line.count

    report = vendor.sync("na1.rotated")

    assert (report.unchanged, vendor.line.count) == (3, before)
    assert (report.new_account, report.other_accounts, report.former_account) == (False, (), "")


def test_two_keys_may_alternate(vendor: Vendor) -> None:
    """Each sends only what has changed since the other one did."""
    for number, key in enumerate(("na1.a", "na1.rotated", "na1.a", "na1.rotated")):
        assert vendor.sync(key, [user("u0", plan=str(number)), user("u1", plan="pro")]).accepted == (1 if number else 2)

    assert vendor.stored("A") == {"u0": {"plan": "3"}, "u1": {"plan": "pro"}}


def test_another_organisation_starts_from_nothing(vendor: Vendor) -> None:
    """The flag for a rotated key changes nothing about that."""
    vendor.sync("na1.a")

    report = vendor.sync("na1.b", same_account=True)

    assert (report.accepted, report.new_account) == (3, True)
    assert [other.account for other in report.other_accounts] == ["127.0.0.1:1 org A"]
    assert vendor.stored("B") == vendor.stored("A")


def test_a_key_that_moves_is_reported(vendor: Vendor) -> None:
    """Everything is sent to the organisation that it belongs to now."""
    vendor.sync("na1.a")
    vendor.keys["na1.a"] = vendor.keys["na1.b"]

    report, later = vendor.sync("na1.a"), vendor.sync("na1.a")

    assert (report.former_account, report.account) == ("127.0.0.1:1 org A", "127.0.0.1:1 org B")
    assert (report.accepted, report.new_account, later.former_account) == (3, True, "")
    assert report.as_dict()["former_account"] == "127.0.0.1:1 org A"


@pytest.mark.parametrize("organisation", ["", "two words", "a\x1b]0;b", "a\u202eb", "a\n", "o" * 129])
def test_an_id_that_is_no_name_is_ignored(vendor: Vendor, organisation: str) -> None:
    """It would not be printable, or could be taken for something else."""
    vendor.organisations["A"].organisation = organisation
    vendor.keys["na1.a"] = (FullstoryEmulator(organisation=organisation), "na1.emulator")

    report = vendor.sync("na1.a")

    assert (report.accepted, report.account) == (3, fullstory("na1.a").account)


def test_ids_that_differ_in_case_are_two(vendor: Vendor) -> None:
    """A vendor may tell them apart."""
    vendor.sync("na1.a")
    vendor.keys["na1.b"] = (FullstoryEmulator(organisation="a"), "na1.emulator")

    assert vendor.sync("na1.b").accepted == 3


def test_another_host_is_another_account(vendor: Vendor) -> None:
    """A vendor's regions may give the same id to two organisations."""
    vendor.sync("na1.a")
    elsewhere = fullstory("na1.a", base_url="http://localhost:1")

    report = sync(ROWS, [elsewhere], ledger=vendor.ledger, options={"fullstory": FAST}, transport=vendor.sender)

    assert report["fullstory"].accepted == 3
    assert report["fullstory"].account == "localhost:1 org A"


def test_two_backends_of_one_organisation_share_it(vendor: Vendor) -> None:
    """Also if both have learnt it in the same run, after runs without an answer."""
    both = [fullstory("na1.a", name="one"), fullstory("na1.rotated", name="two")]
    arguments: dict[str, Any] = {"ledger": vendor.ledger, "options": {"one": FAST, "two": FAST}}
    vendor.silence()
    sync(ROWS, both, transport=vendor.sender, **arguments)
    vendor.answer()

    sync(ROWS, both, transport=vendor.sender, **arguments)
    before = vendor.line.count
    report = sync(ROWS, both[1:], ledger=vendor.ledger, transport=vendor.sender)

    assert set(names(vendor.ledger)) == {"127.0.0.1:1 org A"}
    assert (report["two"].unchanged, vendor.line.count) == (3, before)


# Without an answer.


@pytest.mark.parametrize("fault", NO_ANSWER.values(), ids=NO_ANSWER)
def test_no_answer_stops_no_run(vendor: Vendor, fault: Fault) -> None:
    """The account is named after the key at first, and is renamed once there is an answer."""
    vendor.silence(fault)
    before = time.monotonic()
    first = vendor.sync("na1.a")
    assert time.monotonic() - before < 30
    vendor.answer()
    count = vendor.line.count

    second = vendor.sync("na1.a")

    assert (first.accepted, first.account) == (3, fullstory("na1.a").account)
    assert (second.unchanged, second.new_account, vendor.line.count) == (3, False, count)
    assert names(vendor.ledger) == ["127.0.0.1:1 org A"]


@pytest.mark.parametrize("fault", NO_ANSWER.values(), ids=NO_ANSWER)
def test_no_answer_changes_no_account(vendor: Vendor, fault: Fault) -> None:
    """The ledger remembers which organisation the key belongs to."""
    vendor.sync("na1.a")
    vendor.silence(fault)
    before = vendor.line.count

    report = vendor.sync("na1.a")

    assert (report.unchanged, report.account, vendor.line.count) == (3, "127.0.0.1:1 org A", before)


def test_one_failure_is_overcome(vendor: Vendor) -> None:
    """A second attempt is made."""
    vendor.silence(Fault(status=503, path="/me"))

    assert vendor.sync("na1.a").account == "127.0.0.1:1 org A"


class Foreign(Fullstory):
    """A backend whose `verify` does something else."""

    def verify(self) -> Exchange[Any]:
        """Ask, and return what `answer` returns."""
        yield from super().verify()
        return answer()


def answer() -> object:
    """Return what a test wants `verify` to return."""
    raise NotImplementedError


def fail() -> object:
    """Raise an error."""
    raise RuntimeError


ANSWERS: Final[dict[str, Callable[[], object]]] = {
    "an error": fail,
    "something else": lambda: "A",
    "no organisation": lambda: KeyInfo("fullstory"),
    "a number": lambda: KeyInfo("fullstory", organisation=7),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
}


@pytest.mark.parametrize("returned", ANSWERS.values(), ids=ANSWERS)
def test_an_adapter_with_mistakes_stops_no_run(
    vendor: Vendor, monkeypatch: pytest.MonkeyPatch, returned: Callable[[], object]
) -> None:
    """Nor does it keep another backend from being asked."""
    monkeypatch.setattr(f"{__name__}.answer", returned)
    backends = [Foreign("na1.b", base_url="http://127.0.0.1:1", name="foreign"), fullstory("na1.a")]
    options = {"foreign": FAST, "fullstory": FAST}

    report = sync(ROWS, backends, ledger=vendor.ledger, options=options, transport=vendor.sender)

    assert [each.accepted for each in report.backends] == [3, 3]
    assert [each.account for each in report.backends] == [backends[0].account, "127.0.0.1:1 org A"]


@attrs.define(eq=False)
class DeafSender(InProcessSender):
    """A sender that never completes the request for the organisation, whatever its timeout is."""

    on_wait: Callable[[], object] = lambda: None

    def submit(self, request_id: int, request: Request, timeout: float) -> None:
        """Keep requests about users only."""
        if request.operation != "verify":
            super().submit(request_id, request, timeout)

    def completed(self, timeout: float) -> Sequence[tuple[int, Response]]:
        """Wait."""
        self.on_wait()
        return super().completed(timeout)


def test_a_sender_without_an_end_is_left(vendor: Vendor, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run goes on after a few seconds."""
    monkeypatch.setattr("replay_identity.bulk.worker._VERIFY_RETRY", RetryPolicy(total=0.05))

    def make_sender(_connections: int) -> DeafSender:
        return DeafSender({1: vendor.line})

    report = vendor.sync("na1.a", transport=make_sender)

    assert (report.accepted, report.account) == (3, fullstory("na1.a").account)


def test_a_stop_ends_the_wait(vendor: Vendor) -> None:
    """A run that was stopped before asks nobody."""
    stop = Event()

    def make_sender(_connections: int) -> DeafSender:
        return DeafSender({1: vendor.line}, on_wait=stop.set)

    for _ in range(2):
        report = vendor.sync("na1.a", stop=stop, transport=make_sender)
        assert report.accepted == 0

    assert vendor.sync("na1.a", stop=stop).account == fullstory("na1.a").account
    assert not vendor.organisations["A"].requests


def test_a_sender_that_cannot_be_made_is_reported(vendor: Vendor) -> None:
    """By the run itself, as before."""

    def fail(_connections: int) -> InProcessSender:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        vendor.sync("na1.a", transport=fail)


# What asks nobody.


def test_without_a_ledger_nobody_is_asked(vendor: Vendor) -> None:
    """There is nothing to remember."""
    sync(ROWS, [fullstory("na1.a")], ledger=None, options={"fullstory": FAST}, transport=vendor.sender)

    assert "/me" not in {request.path for request in vendor.organisations["A"].requests}


def test_a_backend_without_verify_is_not_asked(vendor: Vendor) -> None:
    """Its account keeps its name."""
    backend = logrocket("acme:shop:x", base_url="http://127.0.0.1:1")
    report = deliver([backend], ledger=vendor.ledger, transport=vendor.sender)

    assert report["logrocket"].account == backend.account
    assert not any(emulator.requests for emulator in vendor.organisations.values())


def test_other_commands_use_what_is_remembered(vendor: Vendor) -> None:
    """A dry run and an explanation know the organisation of a key, and send nothing."""
    vendor.sync("na1.a")
    vendor.sync("na1.rotated")
    before = len(vendor.organisations["A"].requests)

    dry = dry_run(ROWS, [fullstory("na1.rotated")], ledger=vendor.ledger).report["fullstory"]
    explanation = explain("u0", [fullstory("na1.rotated")], ledger=vendor.ledger)

    assert (dry.unchanged, dry.account, dry.new_account) == (3, "127.0.0.1:1 org A", False)
    assert explanation is not None
    assert [each.status.account for each in explanation.accounts] == ["127.0.0.1:1 org A"]
    assert len(vendor.organisations["A"].requests) == before


# Mirrors and jobs.


def test_a_mirror_deletes_once_for_all_keys(vendor: Vendor) -> None:
    """A user deleted under the old key, before the ledger learnt its organisation, is not deleted again."""
    vendor.silence()
    for rows in (ROWS, ROWS[:2]):
        vendor.sync("na1.a", rows, mirror=Mirror("forget", max_deletions=10))
    deleted = vendor.line.count
    vendor.answer()

    for key in ("na1.a", "na1.rotated"):
        vendor.sync(key, ROWS[:2], mirror=Mirror("forget", max_deletions=10))

    assert [request.method for request in vendor.organisations["A"].requests].count("DELETE") == 1
    assert vendor.line.count == deleted


def test_a_job_is_collected_after_the_renaming(vendor: Vendor) -> None:
    """It was created under the name of the key, and a new key of the organisation collects it."""
    rows = users(50, plan="pro")
    vendor.silence()
    vendor.organisations["A"].faults.add(Fault(status=503, times=None, method="GET", path="/v2"))
    first = vendor.sync("na1.a", rows, options={"fullstory": attrs.evolve(FAST, patience=0.02)})
    vendor.answer()
    vendor.sync("na1.a", [])

    report = vendor.sync("na1.rotated", rows)

    assert (first.pending, report.pending, len(vendor.stored("A"))) == (50, 0, 50)
    assert len(vendor.organisations["A"].jobs) == 1


# Routers.


def router(vendor: Vendor, *backends: Fullstory, **settings: Any) -> DurableRouter:
    """Return a router to *backends*."""
    names = [backend.name for backend in backends]
    arguments: dict[str, Any] = {"options": dict.fromkeys(names, FAST), "transport": vendor.sender, **settings}
    return DurableRouter(backends, ledger=vendor.ledger, **arguments)


def test_a_router_continues_with_a_new_key(vendor: Vendor) -> None:
    """A user who is identified before the vendor has answered is not sent again either."""
    vendor.sync("na1.a")
    before = vendor.line.count
    with router(vendor, fullstory("na1.rotated"), deliver=False) as waiting:
        waiting.identify(ROWS[0])

    with router(vendor, fullstory("na1.rotated")) as delivering:
        assert delivering.flush(60.0)

    assert vendor.line.count == before
    assert names(vendor.ledger) == ["127.0.0.1:1 org A"]


def test_a_router_warns_of_a_key_that_moves(vendor: Vendor, caplog: pytest.LogCaptureFixture) -> None:
    """Once, and it names both accounts."""
    vendor.sync("na1.a")
    vendor.keys["na1.a"] = vendor.keys["na1.b"]

    with router(vendor, fullstory("na1.a")) as moved:
        while "127.0.0.1:1 org B" not in caplog.text:
            time.sleep(0.01)
        moved.identify(ROWS[0])
        assert moved.flush(60.0)

    (text,) = (record.getMessage() for record in caplog.records if record.levelname == "WARNING")
    assert "127.0.0.1:1 org A" in text
    assert vendor.stored("B") == {"u0": {"plan": "pro"}}


def test_a_router_suggests_no_flag_for_two_organisations(vendor: Vendor, caplog: pytest.LogCaptureFixture) -> None:
    """Users pending at one are never delivered to the other."""
    vendor.organisations["A"].faults.add(Fault(status=503, times=None, path="/v2"))
    vendor.sync("na1.a", options={"fullstory": attrs.evolve(FAST, patience=0.02)})
    vendor.sync("na1.b", [])

    with router(vendor, fullstory("na1.b"), deliver=False):
        (text,) = (record.getMessage() for record in caplog.records if record.levelname == "WARNING")

    assert "127.0.0.1:1 org A" in text
    assert "same_account" not in text


def test_backends_of_one_organisation_take_turns(vendor: Vendor) -> None:
    """They have different keys, so only the vendor knows."""
    backends = fullstory("na1.a", name="one"), fullstory("na1.rotated", name="two")
    with router(vendor, *backends) as both:
        for number in range(3):
            both.identify(user("u0", plan=str(number)))
            assert both.flush(60.0)

    assert vendor.stored("A") == {"u0": {"plan": "2"}}
    assert set(names(vendor.ledger)) == {"127.0.0.1:1 org A"}


def test_a_router_without_delivery_asks_nobody(vendor: Vendor) -> None:
    """The process that delivers does."""
    with router(vendor, fullstory("na1.a"), deliver=False) as waiting:
        waiting.identify(ROWS[0])

    assert not vendor.organisations["A"].requests
    deliver([fullstory("na1.a")], ledger=vendor.ledger, options={"fullstory": FAST}, transport=vendor.sender)
    assert vendor.stored("A") == {"u0": {"plan": "pro"}}


def test_a_process_that_knows_the_key_alone_continues(vendor: Vendor) -> None:
    """Another one has learnt the organisation meanwhile."""
    vendor.silence()
    vendor.sync("na1.a")
    vendor.answer()
    by_key = Account("fullstory", fullstory("na1.a").account, fullstory("na1.a").encoding)

    with Ledger(vendor.path) as other:
        other.upsert([user("u9", plan="pro")], [by_key])
        vendor.sync("na1.rotated", [])
        vendor.sync("na1.a", [])
        other.upsert([user("u8", plan="pro")], [by_key])
        assert vendor.sync("na1.rotated", []).accepted == 1

    assert set(vendor.stored("A")) == {"u0", "u1", "u2", "u8", "u9"}


# The law.

user_ids = st.integers(0, 2).map(str)
keys = st.sampled_from(sorted(ORGANISATIONS))


def as_users(plans: dict[str, str]) -> list[UserTraits]:
    """Return users by their plan."""
    return [user(f"u{number}", plan=plan) for number, plan in plans.items()]


rows = st.dictionaries(user_ids, st.text("ab", min_size=1, max_size=1), min_size=1).map(as_users)


class OrganisationsLaw(RuleBasedStateMachine):
    """Nobody counts as confirmed at another organisation, or is sent again only because the key is another one."""

    @initialize()
    def start(self) -> None:
        """Start without users, and with answers."""
        self.folder = tempfile.TemporaryDirectory()
        self.vendor = Vendor(Path(self.folder.name) / "ledger.db")
        self.answers = True
        self.known: set[str] = set()
        self.used: dict[str, set[str]] = {"A": set(), "B": set()}
        # Organisations to which every run was complete, with a key whose organisation the ledger knew.
        self.certain = {"A", "B"}

    def organisation(self, key: str) -> str:
        """Return the organisation that *key* belongs to now."""
        return self.vendor.keys[key][0].organisation

    def use(self, key: str) -> None:
        """Note that a run uses *key*, and whether it knows the organisation."""
        if self.answers:
            self.known.add(key)
        if key not in self.known:
            self.certain.discard(self.organisation(key))
        self.used[self.organisation(key)].add(key)

    @rule(answers=st.booleans())
    def change_the_answers(self, *, answers: bool) -> None:
        """Let requests for the organisation of a key fail, or not."""
        self.vendor.answer()
        self.answers = answers
        if not answers:
            self.vendor.silence()

    @rule(key=keys, rows=rows)
    def sync(self, key: str, rows: list[UserTraits]) -> None:
        """Sync some users; afterwards the organisation has them, and what it had before is not sent again."""
        self.use(key)
        organisation, before = self.organisation(key), self.vendor.line.count
        stored = self.vendor.stored(organisation)

        report = self.vendor.sync(key, rows)

        wanted = {row.user_id: dict(row.traits) for row in rows}
        assert report.pending == 0
        # Two keys whose organisation nobody knows may have sent to it without knowing of each other.
        if self.used[organisation] <= self.known or self.used[organisation] == {key}:
            assert {name: self.vendor.stored(organisation)[name or ""] for name in wanted} == wanted
        if organisation in self.certain:
            is_unchanged = all(stored.get(name or "") == traits for name, traits in wanted.items())
            assert not is_unchanged or self.vendor.line.count == before

    @rule(key=keys, rows=rows, number=st.integers(1, 3), applied=st.booleans())
    def crash(self, key: str, rows: list[UserTraits], number: int, *, applied: bool) -> None:
        """End the process at a request."""
        self.use(key)
        self.certain.discard(self.organisation(key))

        def die(count: int) -> None:
            if count == number:
                raise CrashError

        self.vendor.line.reset_hooks()
        setattr(self.vendor.line, "after" if applied else "before", die)
        with suppress(CrashError):
            self.vendor.sync(key, rows)
        self.vendor.line.reset_hooks()
        self.vendor.ledger.close()
        self.vendor.ledger = Ledger(self.vendor.path)

    @rule(key=keys, to=keys)
    def move_a_key(self, key: str, to: str) -> None:
        """Let a key belong to the organisation of another one; the vendor says so in the next run with it."""
        if self.answers:
            self.vendor.sync(key, [])
            self.vendor.keys[key] = self.vendor.keys[to]
            self.use(key)
            self.vendor.sync(key, [])

    @invariant()
    def books_are_closed(self) -> None:
        """No two accounts have one name."""
        if hasattr(self, "vendor"):
            stored = names(self.vendor.ledger)
            assert len(stored) == len(set(stored))

    def teardown(self) -> None:
        """Close the ledger."""
        if hasattr(self, "vendor"):
            self.vendor.close()
            self.folder.cleanup()


TestOrganisationsLaw = OrganisationsLaw.TestCase
TestOrganisationsLaw.settings = settings(max_examples=40, stateful_step_count=12, deadline=None)
