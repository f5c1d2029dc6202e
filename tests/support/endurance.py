"""Processes that upsert, sync and deliver while they are killed and both vendors fail, and what is left in the end.

`PYTHONPATH=tests python -m support.endurance --minutes 10` prints the counts as JSON and exits with 1 if anything was
lost, is stale or still pending.
"""

import argparse
import math
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final, NoReturn

import attrs
import orjson
from support.acknowledged import Call, Journal, Traits, allowed_values, compare, draw_traits, flatten, read_calls
from support.vendor_models import is_mapping

from replay_identity import Fullstory, LogRocket, UserTraits
from replay_identity.bulk import DeliveryOptions, DurableRouter, deliver, sync
from replay_identity.emulator import BatchRules, Fault, FullstoryEmulator, JobFault, LogRocketEmulator, running
from replay_identity.ledger import Ledger
from replay_identity.sources import read_users

# Each writer has users of its own, so the order of the calls about a user is that of one journal.
WRITERS: Final = ("router-1", "router-2", "sync")
OPTIONS: Final = DeliveryOptions(
    wait_initial=0.01,
    wait_max=0.1,
    poll_initial=0.02,
    poll_max=0.1,
    timeout=2.0,
    patience=5.0,
    batch_users=50,
    # Longer than any job that ends.
    job_patience=12.0,
)
# The most acknowledged calls between two kills.
MAX_CALLS_BETWEEN: Final = 60
# Seconds without an acknowledged call after which a process is killed anyway.
MAX_SECONDS_BETWEEN: Final = 5.0
FAULTS: Final = (
    Fault(status=429, headers={"retry-after": "0.05"}, times=None, probability=0.03),
    Fault(status=429, times=None, probability=0.01),
    Fault(status=503, headers={"retry-after": "1"}, times=None, probability=0.005),
    Fault(status=500, times=None, probability=0.01),
    Fault(drop="before", times=None, probability=0.02),
    Fault(drop="after", times=None, probability=0.03),
    Fault(garbage="html", times=None, probability=0.02),
    Fault(garbage="broken", times=None, probability=0.005),
    Fault(hang=True, times=None, probability=0.001),
)
MANY: Final = 1_000_000
JOB_FAULTS: Final = (
    JobFault(seconds=3.0),
    JobFault(seconds=math.inf),
    JobFault(seconds=1.0, reported_status="UNKNOWN", reported_polls=3),
    JobFault(max_applied=0, lists_unapplied=False),
    JobFault(max_applied=1, lists_unapplied=False),
)


@attrs.frozen(kw_only=True)
class Plan:
    """How long the processes run.

    Attributes:
        folder: Folder for the ledger, the journals and the sources.
        users: Number of users.
        kills: Number of kills after which it ends, or None.
        seconds: Seconds after which it ends, or None.
        seed: Seed of everything that is drawn.
    """

    folder: Path
    users: int = 300
    kills: int | None = None
    seconds: float | None = None
    seed: int = 0

    @property
    def ledger(self) -> Path:
        """Return the path of the ledger."""
        return self.folder / "ledger.db"

    def journal(self, writer: str) -> Path:
        """Return the path of the journal of a writer."""
        return self.folder / f"{writer}.journal"

    def users_of(self, writer: str) -> list[str]:
        """Return the ids of the users that a writer writes about."""
        return [f"u{number}" for number in range(WRITERS.index(writer), self.users, len(WRITERS))]


@attrs.frozen
class Result:
    """The counts of one run.

    Attributes:
        calls: Acknowledged calls.
        kills: Killed processes by role.
        requests: Requests by vendor.
        pending: Users who are still pending, by backend.
        rejected: Rejected users, by backend.
        lost: Fields that are missing, by vendor.
        stale: Fields with a value that is not the newest, by vendor.
        examples: A few of them.
        errors: Exceptions that ended a process.
        seconds: How long it took.
    """

    calls: int
    kills: dict[str, int]
    requests: dict[str, int]
    pending: dict[str, int]
    rejected: dict[str, int]
    lost: dict[str, int]
    stale: dict[str, int]
    examples: list[str]
    errors: list[str]
    seconds: float

    @property
    def is_good(self) -> bool:
        """Return True if nothing was lost, is stale, pending or rejected, and no process failed."""
        wrong = (self.pending, self.rejected, self.lost, self.stale)
        return not self.errors and not any(count for counts in wrong for count in counts.values())


# The vendors, in a process of their own


def _serve(pipe: Connection) -> None:
    """Serve both emulators until the controller asks for what they store."""
    # Jobs that run forever must not use up the vendor's room for others.
    rules = BatchRules(job_seconds=0.1, max_running=MANY, max_jobs=MANY)
    fullstory, logrocket = FullstoryEmulator(batch=rules), LogRocketEmulator()
    for emulator in (fullstory, logrocket):
        for fault in FAULTS:
            emulator.faults.add(fault)
    with running(fullstory) as first, running(logrocket) as second:
        pipe.send((first.url, second.url))
        while True:
            match pipe.recv():
                case JobFault() as job_fault:
                    fullstory.job_faults.add(job_fault)
                case "calm":
                    fullstory.faults.clear()
                    logrocket.faults.clear()
                    fullstory.job_faults.clear()
                    pipe.send(None)
                case _:
                    pipe.send(_stored(fullstory, logrocket))
                    return


def _stored(fullstory: FullstoryEmulator, logrocket: LogRocketEmulator) -> dict[str, Any]:
    """Return the fields of every user at both vendors, and the number of requests."""
    first: dict[str, dict[str, Any]] = {}
    for user in fullstory.users.values():
        own = {"name": user.display_name, "email": user.email}
        first[user.uid or ""] = {**_set(own), **flatten(user.properties)}
    second = {
        user.user_id: {**_set({"name": user.name, "email": user.email}), **user.traits}
        for user in logrocket.users.values()
    }
    return {
        "fullstory": first,
        "logrocket": second,
        "requests": {"fullstory": len(fullstory.requests), "logrocket": len(logrocket.requests)},
    }


def _set(fields: Mapping[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in fields.items() if value is not None}


# The processes that are killed


@attrs.frozen
class Work:
    """What a process needs for its work."""

    plan: Plan
    urls: tuple[str, str]
    rng: random.Random

    @property
    def backends(self) -> tuple[Fullstory, LogRocket]:
        """Return both backends."""
        return (
            Fullstory("na1.emulator", base_url=self.urls[0], on_violation="adapt"),
            LogRocket("acme:shop:emulator", base_url=self.urls[1]),
        )

    @property
    def options(self) -> dict[str, DeliveryOptions]:
        """Return the delivery options."""
        return {"fullstory": OPTIONS, "logrocket": OPTIONS}

    def identify(self, writer: str) -> NoReturn:
        """Identify users, one after the other, for another process to deliver."""
        journal, user_ids = Journal(self.plan.journal(writer)), self.plan.users_of(writer)
        router = DurableRouter(self.backends, ledger=self.plan.ledger, deliver=False)
        while True:
            call = (self.rng.choice(user_ids), draw_traits(self.rng, removes=True))
            numbers = journal.begin([call])
            router.identify(_user(*call))
            journal.acknowledge(numbers)

    def sync(self, writer: str) -> NoReturn:
        """Sync files and streams of users, with several rows about some users."""
        journal, user_ids = Journal(self.plan.journal(writer)), self.plan.users_of(writer)
        while True:
            is_file = self.rng.random() < 0.6
            some = self.rng.sample(user_ids, min(20, len(user_ids)))
            rows = [
                (self.rng.choice(some), draw_traits(self.rng, removes=not is_file))
                for _ in range(self.rng.randrange(1, 80))
            ]
            self._sync(journal, rows, self._file(writer, rows) if is_file else (_user(*row) for row in rows))

    def _sync(self, journal: Journal, rows: Sequence[tuple[str, Traits]], source: Any) -> None:
        numbers = journal.begin(rows)
        committed = 0

        def acknowledge(count: int) -> None:
            nonlocal committed
            journal.acknowledge(numbers[committed:count])
            committed = count

        sync(source, self.backends, ledger=self.plan.ledger, options=self.options, on_committed=acknowledge)

    def _file(self, writer: str, rows: Sequence[tuple[str, Traits]]) -> Any:
        path = self.plan.folder / f"{writer}.jsonl"
        path.write_bytes(b"".join(orjson.dumps({"id": user_id, **traits}) + b"\n" for user_id, traits in rows))
        return read_users(path)

    def deliver(self) -> NoReturn:
        """Deliver again and again."""
        while True:
            deliver(self.backends, ledger=self.plan.ledger, options=self.options)
            time.sleep(0.01)

    def finish(self) -> None:
        """Deliver until nobody is pending, but give up in the end."""
        patient = dict.fromkeys(self.options, attrs.evolve(OPTIONS, patience=60.0))
        for _ in range(5):
            if not deliver(self.backends, ledger=self.plan.ledger, options=patient).pending:
                return


def _user(user_id: str, traits: Traits) -> UserTraits:
    return Call(user_id, traits, is_acknowledged=False).user


# The process that kills


@attrs.define
class Controller:
    """Starts the processes, kills them and compares. It has one thread and opens no ledger, so it can fork."""

    plan: Plan
    urls: tuple[str, str]
    pipe: Connection
    rng: random.Random
    kills: Counter[str] = attrs.field(factory=Counter[str])
    errors: list[str] = attrs.field(factory=list[str])
    _processes: dict[str, int] = attrs.field(factory=dict[str, int])

    def run(self) -> Result:
        """Run until the plan is fulfilled, deliver what is pending, and return the counts."""
        started = time.monotonic()
        for role in self._roles():
            self._start(role)
        while not self._is_over(started) and not self.errors:
            self._wait_for_calls(self.rng.randrange(1, MAX_CALLS_BETWEEN))
            self._kill(self.rng.choice([*self._processes]))
        for role in [*self._processes]:
            self._kill(role, restarts=False)
        self.pipe.send("calm")
        self.pipe.recv()
        self._wait(self._fork("finish"))
        return self._result(time.monotonic() - started)

    def _roles(self) -> list[str]:
        return [*WRITERS, "deliver"]

    def _is_over(self, started: float) -> bool:
        if self.plan.kills is not None:
            return self.kills.total() >= self.plan.kills
        return time.monotonic() - started >= (self.plan.seconds or 0.0)

    def _wait_for_calls(self, count: int) -> None:
        """Wait until the journals have grown by about *count* calls."""
        wanted = self._journal_bytes() + 150 * count
        until = time.monotonic() + MAX_SECONDS_BETWEEN
        while self._journal_bytes() < wanted and time.monotonic() < until:
            time.sleep(0.005)

    def _journal_bytes(self) -> int:
        paths = [self.plan.journal(writer) for writer in WRITERS]
        return sum(path.stat().st_size for path in paths if path.exists())

    def _start(self, role: str) -> None:
        self._processes[role] = self._fork(role)

    def _kill(self, role: str, *, restarts: bool = True) -> None:
        process = self._processes.pop(role)
        os.kill(process, signal.SIGKILL)
        self._wait(process)
        self.kills[role] += 1
        if not restarts:
            return
        self._start(role)
        if self.rng.random() < 0.3:
            self.pipe.send(self.rng.choice(JOB_FAULTS))

    def _wait(self, process: int) -> None:
        """Wait for the end of a process that was killed or has finished."""
        _, status = os.waitpid(process, 0)
        if os.WIFEXITED(status) and os.WEXITSTATUS(status):
            self.errors.append((self.plan.folder / f"{process}.error").read_text(encoding="utf-8"))

    def _fork(self, role: str) -> int:
        """Start a process; it shares nothing with this one but the folder."""
        work = Work(self.plan, self.urls, _dice(self.rng.random()))
        process = os.fork()
        if process:
            return process
        try:
            _roles(work)[role]()
            os._exit(0)
        except BaseException:  # noqa: BLE001  # The process ends here, and the controller reads the text.
            (self.plan.folder / f"{os.getpid()}.error").write_text(traceback.format_exc(), encoding="utf-8")
            os._exit(1)

    def _result(self, seconds: float) -> Result:
        self.pipe.send("stored")
        stored = self.pipe.recv()
        calls = [call for writer in WRITERS for call in read_calls(self.plan.journal(writer))]
        found = {
            "fullstory": compare(allowed_values(calls, removes=False), stored["fullstory"]),
            "logrocket": compare(allowed_values(_as_strings(calls), removes=True), stored["logrocket"]),
        }
        with Ledger(self.plan.ledger) as ledger:
            counts = ledger.counts()
        return Result(
            calls=sum(call.is_acknowledged for call in calls),
            kills=dict(self.kills),
            requests=stored["requests"],
            pending={each.backend: each.pending for each in counts},
            rejected={each.backend: each.rejected for each in counts},
            lost={vendor: faults.lost for vendor, faults in found.items()},
            stale={vendor: faults.stale for vendor, faults in found.items()},
            examples=[f"{vendor}: {text}" for vendor, faults in found.items() for text in faults.examples],
            errors=self.errors,
            seconds=round(seconds, 1),
        )


def _roles(work: Work) -> dict[str, Callable[[], None]]:
    return {
        "router-1": lambda: work.identify("router-1"),
        "router-2": lambda: work.identify("router-2"),
        "sync": lambda: work.sync("sync"),
        "deliver": work.deliver,
        "finish": work.finish,
    }


def _dice(seed: float) -> random.Random:
    return random.Random(seed)  # noqa: S311  # Not for security.


def _as_strings(calls: Sequence[Call]) -> list[Call]:
    """Return the calls with the values that LogRocket stores."""
    return [attrs.evolve(call, traits=_strings(call.traits)) for call in calls]


def _strings(traits: Traits) -> Traits:
    return {
        name: value if value is None else _strings(dict(value)) if is_mapping(value) else str(value)
        for name, value in traits.items()
    }


def endure(plan: Plan) -> Result:
    """Run *plan* and return the counts."""
    context = multiprocessing.get_context("fork")
    pipe, other_end = context.Pipe()
    vendors = context.Process(target=_serve, args=(other_end,), daemon=True)
    vendors.start()
    try:
        return Controller(plan, pipe.recv(), pipe, _dice(plan.seed)).run()
    finally:
        vendors.join(5.0)
        vendors.kill()


def main() -> None:
    """Run for the time that the command line gives, print the counts and exit."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="how long, unless --kills is given")
    parser.add_argument("--kills", type=int, help="number of kills after which it ends")
    parser.add_argument("--users", type=int, default=300)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="replay-identity-endurance-") as folder:
        plan = Plan(
            folder=Path(folder),
            users=arguments.users,
            kills=arguments.kills,
            seconds=60 * arguments.minutes,
            seed=arguments.seed,
        )
        result = endure(plan)
    document = {"seed": plan.seed, "is_good": result.is_good, **attrs.asdict(result)}
    sys.stdout.buffer.write(orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n")
    sys.exit(0 if result.is_good else 1)


if __name__ == "__main__":
    main()
