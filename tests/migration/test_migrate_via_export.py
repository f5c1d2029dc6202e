"""Migrations of one export of an emulated Fullstory to an emulated LogRocket, over HTTP."""

import os
import random
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import attrs
import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.in_process import QUICK
from support.profiles import examples
from support.vendors import Vendors, running_vendors

from replay_identity import ConfigurationError, Ledger, LogRocket, UserTraits
from replay_identity.adapters import Request, Response
from replay_identity.emulator import ExportRules, Fault, FullstoryEmulator
from replay_identity.mapping import FieldRule, RowMapping
from replay_identity.migration import ListingStats, MigrationReport, VendorSource, migrate
from replay_identity.sources import BadRow, Row, Rows
from replay_identity.testing import user_traits
from replay_identity.transport import Transport
from replay_identity.transport.httpx_sender import HttpxSender, download

USERS = 25


class KilledError(BaseException):
    """Ends a run as a killed process would."""


@attrs.define
class Move:
    """Emulated vendors, and a ledger at *path*."""

    vendors: Vendors
    path: Path

    def source(self, **options: Any) -> VendorSource:
        """Return the users that Fullstory exports."""
        return VendorSource(backend=self.vendors.fullstory_backend, via="export", options=QUICK, **options)

    def run(self, source: VendorSource | None = None, **options: Any) -> MigrationReport:
        """Migrate to LogRocket."""
        with Ledger(self.path) as ledger:
            return migrate(
                source or self.source(),
                [self.vendors.logrocket_backend],
                ledger=ledger,
                options={"logrocket": QUICK},
                **options,
            )

    def put(self, user_id: str | None, **traits: Any) -> None:
        """Upsert a user at Fullstory."""
        with Transport() as transport:
            transport.run(self.vendors.fullstory_backend.identify(UserTraits(user_id, traits=traits)))

    def add(self, count: int) -> None:
        """Add *count* users at Fullstory."""
        items = [{"uid": f"u{number}", "properties": {"plan": f"p{number}"}} for number in range(count)]
        url, headers = self.vendors.fullstory_backend.base_url, {"authorization": "Basic na1.emulator"}
        for item in items:
            httpx.post(f"{url}/v2/users", json=item, headers=headers).raise_for_status()

    def paths(self) -> list[str]:
        """Return the first name of the path of each request that reads Fullstory."""
        names = [request.path.split("/")[1] for request in self.vendors.fullstory.requests]
        return [name for name in names if name != "v2"]

    def traits(self) -> dict[str, Mapping[str, str]]:
        """Return the traits at LogRocket by user."""
        return {user.user_id: user.traits for user in self.vendors.logrocket.users.values()}


@pytest.fixture
def vendors() -> Iterator[Vendors]:
    """Run both emulators."""
    with running_vendors() as running:
        yield running


@pytest.fixture
def move(vendors: Vendors, tmp_path: Path) -> Move:
    """Return a migration without users."""
    return Move(vendors, tmp_path / "ledger.db")


def rows(source: VendorSource) -> dict[str, tuple[Any, ...]]:
    """Return all that is read about each user, except since when it is true; an empty name or address is none."""
    reader = source.open((), None)
    try:
        users = [row.user for row in reader.rows() if isinstance(row, Row)]
    finally:
        reader.close()
    return {user.user_id or "": (user.name or None, user.email or None, user.traits, user.types) for user in users}


def plans(count: int) -> dict[str, Mapping[str, str]]:
    """Return the traits of *count* users."""
    return {f"u{number}": {"plan": f"p{number}"} for number in range(count)}


def test_moves_every_identified_user(move: Move) -> None:
    """With a few requests, of which the last goes to another host without the key."""
    move.add(USERS)
    move.put(None, plan="trial")

    report = move.run()

    assert move.traits() == plans(USERS)
    assert report.listing == ListingStats(users=USERS + 1, usable=USERS, anonymous=1)
    assert move.paths() == ["segments", "operations", "search", "fullstory-exports"]
    assert "authorization" not in move.vendors.fullstory.requests[-1].headers


@settings(max_examples=examples(10), deadline=None)
@given(data=st.data())
def test_an_export_gives_the_same_users_as_pages(data: st.DataObject) -> None:
    """With the same names, addresses, traits and types, whatever the rules of the export are."""
    rules = ExportRules(
        compression=data.draw(st.sampled_from(["none", "encoding", "file"])), shows_nulls=data.draw(st.booleans())
    )
    with running_vendors(FullstoryEmulator(exports=rules)) as vendors, Transport() as transport:
        for user in data.draw(st.lists(user_traits(), max_size=8)):
            transport.run(vendors.fullstory_backend.identify(user))
        pages = VendorSource(backend=vendors.fullstory_backend, options=QUICK)

        assert rows(attrs.evolve(pages, via="export")) == rows(pages)


def test_a_user_read_again_is_not_sent_again(move: Move) -> None:
    """Neither from a second export, nor from the pages."""
    move.add(USERS)
    move.run()

    reports = [move.run(), move.run(VendorSource(backend=move.vendors.fullstory_backend, options=QUICK))]

    assert [report.run["logrocket"].unchanged for report in reports] == [USERS, USERS]
    assert set(move.vendors.logrocket.applied.values()) == {1}


@attrs.define
class Killing:
    """Sends to Fullstory and to its store, and dies at the first request whose path starts with *stage*."""

    stage: str
    after: bool
    sender: HttpxSender = attrs.field(factory=HttpxSender)

    def send(self, request: Request, timeout: float) -> Response:
        """Send a request to the API."""
        return self.die_at(request, lambda: self.sender.send(request, timeout))

    def download(self, request: Request, file: BinaryIO, **limits: Any) -> Response:
        """Download from the store."""
        return self.die_at(request, lambda: download(request, file, **limits))

    def die_at(self, request: Request, send: Callable[[], Response]) -> Response:
        """Call *send* unless it is the end."""
        if not urlsplit(request.url).path.startswith(self.stage):
            return send()
        if self.after:
            send()
        raise KilledError

    def close(self) -> None:
        """Close the connections."""
        self.sender.close()


@pytest.mark.parametrize("stage", ["/segments", "/operations", "/search", "/fullstory-exports"])
@pytest.mark.parametrize("after", [False, True])
def test_a_kill_between_stages_loses_no_user(move: Move, stage: str, *, after: bool) -> None:
    """The next run polls the same operation, unless the process died before it knew that."""
    move.add(USERS)
    killing = Killing(stage, after)

    with pytest.raises(KilledError):
        move.run(move.source(transport=killing, download=killing.download))
    report = move.run()

    assert move.traits() == plans(USERS)
    assert report.listing == ListingStats(users=USERS, usable=USERS)
    assert move.paths().count("segments") == 1 + (stage == "/segments" and after)


def test_a_kill_while_users_are_read_resumes_behind_them(move: Move, monkeypatch: pytest.MonkeyPatch) -> None:
    """The statistics cover both runs."""
    monkeypatch.setattr("replay_identity.bulk.run._FIRST_CHUNK_ROWS", 10)
    monkeypatch.setattr("replay_identity.bulk.run._MAX_CHUNK_ROWS", 10)
    monkeypatch.setattr("replay_identity.migration.exports._PAGE_USERS", 5)
    move.add(USERS)

    def kill(read: Iterator[Row | BadRow]) -> Iterator[Row | BadRow]:
        yield from islice(read, 20)
        raise KilledError

    def until_killed(read: Rows[Row | BadRow]) -> Rows[Row | BadRow]:
        return read.through(kill)

    with pytest.raises(KilledError):
        move.run(wrap_rows=until_killed)
    report = move.run()

    assert move.traits() == plans(USERS)
    assert report.listing is not None
    assert (report.listing.users, report.listing.usable) == (USERS, USERS)
    assert 10 <= report.listing.earlier <= 20
    assert move.paths().count("segments") == 1


def test_the_newest_individual_of_a_user_wins(move: Move) -> None:
    """Property by property, in whichever order the file has them."""
    lines = [
        b'{"IndvId":1,"UserAppKey":"u1","UserCreated":"2026-01-02T00:00:00Z","user_plan_str":"new"}\n',
        b'{"IndvId":2,"UserAppKey":"u1","UserCreated":"2026-01-01T00:00:00Z","user_plan_str":"old","user_size_int":4}\n',
    ]
    random.SystemRandom().shuffle(lines)
    move.add(1)

    def store(_request: Any, file: BinaryIO, **_limits: Any) -> Response:
        file.writelines(lines)
        return Response(200)

    move.run(move.source(download=store))

    assert move.traits() == {"u1": {"plan": "new", "size": "4"}}
    assert set(move.vendors.logrocket.applied.values()) == {1}


def test_a_mapping_can_merge_individuals(move: Move) -> None:
    """The ids after the mapping count."""
    move.put("u1", customer="c1", plan="pro")
    move.put("u2", customer="c1", size=4)
    move.put("u3", customer="c2", bad=[1])
    mapping = RowMapping(
        user_id="customer", fields={"customer": FieldRule(), "bad": FieldRule(cast="int"), "plan": FieldRule()}
    )

    report = move.run(move.source(mapping=mapping))

    assert move.traits() == {"c1": {"plan": "pro", "size": "4", "user_id": "u2"}}
    assert report.run.bad_row_count == 1
    assert set(move.vendors.logrocket.applied.values()) == {1}


def test_only_users_with_events_are_exported(tmp_path: Path) -> None:
    """The pages have all of them."""
    with running_vendors(FullstoryEmulator(exports=ExportRules(active_uids={"u1"}))) as vendors:
        move = Move(vendors, tmp_path / "ledger.db")
        move.add(3)

        move.run()

        assert move.traits().keys() == {"u1"}


def test_a_failed_export_is_replaced_by_the_next_run(tmp_path: Path) -> None:
    """The run that started it reports why it failed."""
    rules = ExportRules(failures=["The export took too long."])
    with running_vendors(FullstoryEmulator(exports=rules)) as vendors:
        move = Move(vendors, tmp_path / "ledger.db")
        move.add(3)

        first, second = move.run(), move.run()

        assert str(first.run.stopped).startswith("fullstory: cannot be read: the export failed")
        assert second.listing == ListingStats(users=3, usable=3, restarts=1)
        assert move.traits() == plans(3)


def test_faults_at_every_step_lose_no_user(move: Move) -> None:
    """Quotas, outages and lost responses are waited out."""
    move.add(USERS)
    for path in ("segments", "operations", "search", "fullstory-exports"):
        for fault in (Fault(status=429, headers={"retry-after": "0.01"}), Fault(status=503), Fault(drop="after")):
            move.vendors.fullstory.faults.add(attrs.evolve(fault, path=f"/{path}"))

    report = move.run()

    assert report.failure is None
    assert move.traits() == plans(USERS)


def test_the_file_is_for_its_owner_and_temporary(move: Move, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also after a run that failed."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    modes: list[int] = []

    def store(*arguments: Any, **limits: Any) -> Response:
        modes.append(stat.S_IMODE(os.fstat(arguments[1].fileno()).st_mode))
        if len(modes) == 2:
            raise KilledError
        return download(*arguments, **limits)

    move.add(1)
    for _ in range(2):
        with suppress(KilledError):
            move.run(move.source(download=store))

    assert modes == [0o600, 0o600]
    assert list((tmp_path / "temporary").iterdir()) == []


def test_needs_a_backend_with_exports(move: Move) -> None:
    """LogRocket has none."""
    for backend, via in ((LogRocket("a:b:c"), "export"), (move.vendors.fullstory_backend, "file")):
        with pytest.raises(ConfigurationError) as caught:
            VendorSource(backend=backend, via=via)  # type: ignore[arg-type]

        assert caught.value.setting == "via"
