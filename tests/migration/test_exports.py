"""Reading exports through failures, slow operations, expired links and broken downloads."""

import gzip
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import attrs
import orjson
import pytest
from support.clock import Clock
from support.export_vendor import LINK, ExportVendor, Store, Stored
from support.scripted import Script

from replay_identity import DeliveryOptions, Misconfigured, Rejected, SourceError, Unavailable, Unknown
from replay_identity.adapters import ExportLink, ExportProgress, NoResponse, Response
from replay_identity.migration import exports
from replay_identity.migration.exports import ExportReader
from replay_identity.migration.pager import MAX_RESTARTS
from replay_identity.retry import RetryPolicy
from replay_identity.transport import Transport

RUNNING = ExportProgress()
STALLED = ExportProgress(makes_progress=False)
GONE = Rejected("acme", code="HTTP 404")
DOWN = Unavailable("acme", "HTTP 503")


def lines(*ids: str | None) -> bytes:
    """Return the lines of an export of users with *ids*."""
    users = [{"vendor_id": str(number), "user_id": user_id} for number, user_id in enumerate(ids)]
    return b"".join(orjson.dumps(user) + b"\n" for user in users)


FILE = lines("u1", "u2", "u3")
PACKED = gzip.compress(FILE, mtime=0)


@attrs.define
class Read:
    """One reader of exports, with its vendor, store, clock and what it reported."""

    vendor: ExportVendor
    store: Store
    clock: Clock
    reader: ExportReader
    waits: list[tuple[float, str]]
    tokens: list[str]

    def ids(self, token: str | None = None) -> list[str | None]:
        """Return the ids of all users from *token* on."""
        return [user.user_id for page in self.reader.pages(token) for user in page.users]

    def failure(self, token: str | None = None) -> Any:
        """Return the failure that stops reading."""
        with pytest.raises(SourceError):
            self.ids(token)
        return self.reader.failure


@pytest.fixture
def opened() -> Iterator[list[ExportReader]]:
    """Close all readers at the end of a test."""
    readers: list[ExportReader] = []
    yield readers
    for reader in readers:
        reader.close()


@pytest.fixture
def read(opened: list[ExportReader]) -> Any:
    """Return a function that makes a reader of a scripted export."""

    def make(files: Sequence[Stored] = (Stored(FILE),), **options: Any) -> Read:
        script = {name: options.pop(name) for name in ("starts", "polls", "links") if name in options}
        vendor, store, clock = ExportVendor(**script), Store(files), Clock(0.0)
        delivery: dict[str, Any] = {
            "wait_initial": 1.0,
            "wait_max": 4.0,
            "patience": 20.0,
            "poll_initial": 2.0,
            "poll_max": 8.0,
        }
        waits, tokens = list[tuple[float, str]](), list[str]()
        reader = ExportReader(
            vendor,
            Transport(Script([Response(200)]), retry=RetryPolicy(attempts=1)),
            DeliveryOptions(**{**delivery, **options}),
            lambda seconds, cause: waits.append((seconds, cause)),
            clock=clock,
            sleep=clock.sleep,
            now=clock,
            download=store,
            on_started=tokens.append,
        )
        opened.append(reader)
        return Read(vendor, store, clock, reader, waits, tokens)

    return make


def test_reads_the_file_of_a_new_export(read: Any) -> None:
    """It is started, polled, linked and downloaded once."""
    export = read()

    assert export.ids() == ["u1", "u2", "u3"]
    assert export.vendor.calls == ["start", "poll op1", "link file"]
    assert [request.url for request in export.store.requests] == [LINK.url]


def test_the_users_are_true_when_the_export_started(read: Any) -> None:
    """What the application writes while the export runs is newer."""
    export = read(polls=[RUNNING, ExportProgress("file")])
    export.clock.now = 100.0

    export.ids()

    assert (export.reader.requested_at, export.clock.now) == (100.0, 102.0)


def test_waits_longer_between_polls(read: Any) -> None:
    """One backoff serves all polls; the wait is reported once."""
    export = read(polls=[RUNNING] * 4 + [ExportProgress("file")])

    export.ids()

    assert export.clock.slept == [2.0, 4.0, 8.0, 8.0]
    assert export.waits == [(2.0, "the export is running")]


def test_a_running_export_is_polled_for_a_day(read: Any) -> None:
    """Then the run ends, and a later one polls again."""
    export = read(polls=[RUNNING], job_patience=1000.0)

    assert export.failure() == Unavailable("acme", "the export does not end")
    assert 1000.0 < export.clock.now < 1020.0


def test_patience_ends_an_export_without_progress(read: Any) -> None:
    """A state that is not documented may last for any time."""
    export = read(polls=[STALLED])

    assert export.failure() == Unavailable("acme", "the export does not end")
    assert export.clock.now < 40.0


def test_progress_starts_patience_again(read: Any) -> None:
    """Only an uninterrupted time without progress counts."""
    export = read(polls=[STALLED, STALLED, RUNNING, STALLED, STALLED, ExportProgress("file")])

    assert export.ids() == ["u1", "u2", "u3"]


@pytest.mark.parametrize("step", ["starts", "polls", "links"])
def test_each_request_is_retried(read: Any, step: str) -> None:
    """As long as the vendor asks, or with a backoff."""
    good: dict[str, Any] = {"starts": [], "polls": [ExportProgress("file")], "links": [LINK]}
    export = read(**{step: [DOWN, Unavailable("acme", "HTTP 429", 900.0), *good[step]]})

    assert export.ids() == ["u1", "u2", "u3"]
    assert export.clock.slept == [1.0, 900.0]


@pytest.mark.parametrize("step", ["starts", "polls", "links"])
def test_gives_up_once_patience_runs_out(read: Any, step: str) -> None:
    """The failure is kept; it is not tried a second time."""
    export = read(**{step: [DOWN] * 50})

    assert export.failure() == DOWN
    calls = len(export.vendor.calls)
    assert export.failure() == DOWN
    assert len(export.vendor.calls) == calls


@pytest.mark.parametrize("step", ["starts", "polls", "links"])
def test_wrong_settings_stop_at_once(read: Any, step: str) -> None:
    """A key without the permission is not tried again."""
    wrong = Misconfigured("acme", "HTTP 403", "Take another key.")
    export = read(**{step: [wrong]})

    assert export.failure() == wrong
    assert export.clock.slept == []


def test_a_failed_export_is_not_started_again(read: Any) -> None:
    """The next one would fail, too."""
    failed = Rejected("acme", code="the export failed")
    export = read(polls=[failed])

    assert export.failure() == failed
    assert export.vendor.started == 1


def test_resumes_an_operation(read: Any) -> None:
    """The same operation is polled, and a fresh link asked for."""
    first, second = read(), read()
    token = next(iter(first.reader.pages(None))) and first.tokens[0]

    assert second.ids(token) == ["u1", "u2", "u3"]
    assert second.vendor.calls == ["poll op1", "link file"]
    assert (second.tokens, second.reader.restarts) == ([], 0)


def test_resumes_behind_a_page(read: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Users who were read are not read again."""
    monkeypatch.setattr(exports, "_PAGE_USERS", 2)
    page = next(iter(read().reader.pages(None)))

    assert [user.user_id for user in page.users] == ["u1", "u2"]
    assert read().ids(page.next_token) == ["u3"]


@pytest.mark.parametrize("gone", [{"polls": [GONE, ExportProgress("file")]}, {"links": [GONE, LINK]}])
def test_an_expired_operation_starts_a_new_export(read: Any, gone: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read from the beginning."""
    monkeypatch.setattr(exports, "_PAGE_USERS", 2)
    token = next(iter(read().reader.pages(None))).next_token
    export = read(**gone)

    assert export.ids(token) == ["u1", "u2", "u3"]
    assert (export.reader.restarts, export.vendor.started, len(export.tokens)) == (1, 1, 1)


def test_limits_the_number_of_new_exports(read: Any) -> None:
    """Reading ends even if files are always gone."""
    export = read(links=[GONE])

    assert export.failure() == GONE
    assert export.vendor.started == MAX_RESTARTS + 1


@pytest.mark.parametrize("ids", [("u1", "u2", "u1"), ("u1", "u2")])
def test_reads_all_again_where_resuming_could_lose(
    read: Any, ids: Sequence[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several individuals of one user are merged in one run; a shorter file is another one."""
    monkeypatch.setattr(exports, "_PAGE_USERS", 2)
    token = next(iter(read().reader.pages(None))).next_token
    shorter = orjson.dumps([*orjson.loads(token)[:2], 3]).decode() if len(ids) == 2 else token
    export = read([Stored(lines(*ids))])

    assert export.ids(shorter) == list(ids)
    assert (export.reader.restarts, len(export.tokens)) == (1, 1)


def test_anonymous_individuals_are_not_one_user(read: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """They have no id to be merged by."""
    monkeypatch.setattr(exports, "_PAGE_USERS", 2)
    file = [Stored(lines(None, None, "u1"))]
    token = next(iter(read(file).reader.pages(None))).next_token

    assert read(file).ids(token) == ["u1"]


def test_users_ahead_are_those_of_the_pages(read: Any) -> None:
    """The file is downloaded once for both."""
    export = read()

    assert [user.user_id for user in export.reader.users_ahead(None)] == export.ids()
    assert len(export.store.requests) == 1


@pytest.mark.parametrize("layers", [0, 1, 2])
def test_reads_packed_files(read: Any, layers: int) -> None:
    """Their content says so, not the headers of the store."""
    body = FILE
    for _ in range(layers):
        body = gzip.compress(body)

    assert read([Stored(body)]).ids() == ["u1", "u2", "u3"]


@pytest.mark.parametrize("body", [b"", b"\n", gzip.compress(b"", mtime=0)])
def test_an_empty_file_has_no_users(read: Any, body: bytes) -> None:
    """Nobody had events."""
    assert read([Stored(body)]).ids() == []


def test_blank_lines_are_no_users(read: Any) -> None:
    """The last line may lack its end."""
    assert read([Stored(b"\n" + lines("u1") + b"\r\n" + lines("u2").strip())]).ids() == ["u1", "u2"]


@pytest.mark.parametrize(
    "body",
    [FILE[:-5], PACKED[:-5], PACKED[:20], PACKED[:12] + b"x" * 50, b"<p>"],
)
def test_a_damaged_file_is_downloaded_again(read: Any, body: bytes) -> None:
    """A connection may break off without an error."""
    export = read([Stored(body, etag='"1"'), Stored(FILE, etag='"1"')])

    assert export.ids() == ["u1", "u2", "u3"]
    assert "range" not in export.store.requests[1].headers


def test_a_file_that_stays_damaged_ends_the_run(read: Any) -> None:
    """The failure says which line, and nothing of what is in it."""
    export = read([Stored(FILE + b"canary")])

    assert export.failure() == Unknown("acme", "download of the export: line 4 is not a user")


def test_continues_a_broken_download(read: Any) -> None:
    """The rest is asked for with a fresh link, if the file is still the same."""
    export = read([Stored(FILE, etag='"1"', breaks_at=40), Stored(FILE, etag='"1"')])

    assert export.ids() == ["u1", "u2", "u3"]
    assert export.store.requests[1].headers == {"range": "bytes=40-", "if-range": '"1"'}
    assert export.vendor.calls.count("link file") == 2


@pytest.mark.parametrize("etag", ["", 'W/"1"'])
def test_starts_again_without_a_strong_etag(read: Any, etag: str) -> None:
    """The rest of another file would not fit."""
    export = read([Stored(FILE, etag=etag, breaks_at=40), Stored(FILE, etag=etag)])

    assert export.ids() == ["u1", "u2", "u3"]
    assert export.store.requests[1].headers == {}


def test_an_unreachable_store_keeps_the_beginning(read: Any) -> None:
    """The rest is still asked for."""
    away = Stored(no_response=NoResponse.NOT_SENT)
    export = read([Stored(FILE, etag='"1"', breaks_at=40), away, Stored(FILE, etag='"1"')])

    assert export.ids() == ["u1", "u2", "u3"]
    assert export.store.requests[2].headers["range"] == "bytes=40-"


def test_starts_again_if_there_is_no_rest(read: Any) -> None:
    """A 416 says that the file is shorter than what is there."""
    export = read([Stored(FILE, etag='"1"', breaks_at=40), Stored(status=416), Stored(FILE, etag='"1"')])

    assert export.ids() == ["u1", "u2", "u3"]
    assert export.store.requests[2].headers == {}


def test_a_download_that_gets_further_keeps_patience(read: Any) -> None:
    """One that always breaks off at the same place does not."""
    parts = [Stored(FILE, etag='"1"', breaks_at=end) for end in range(2, len(FILE) - 1, 2)]

    assert read([*parts, Stored(FILE, etag='"1"')], patience=2.0).ids() == ["u1", "u2", "u3"]
    assert read([Stored(FILE, etag='"1"', breaks_at=40)], patience=2.0).failure() == Unavailable(
        "acme", "download of the export: the connection was lost before the response"
    )


@pytest.mark.parametrize("status", [302, 400, 403, 404, 410, 500, 503])
def test_any_failure_of_the_store_gets_a_new_link(read: Any, status: int) -> None:
    """Stores say in many ways that a link has expired."""
    export = read([Stored(status=status), Stored(FILE)])

    assert export.ids() == ["u1", "u2", "u3"]
    assert export.vendor.calls == ["start", "poll op1", "link file", "link file"]


def test_waits_as_long_as_the_store_asks(read: Any) -> None:
    """It has quotas of its own."""
    export = read([Stored(status=503, retry_after="60"), Stored(FILE)])

    assert export.ids() == ["u1", "u2", "u3"]
    assert export.clock.slept == [60.0]


def test_an_expired_link_is_not_used(read: Any) -> None:
    """A new one is asked for."""
    expired = ExportLink(LINK.url, datetime.fromtimestamp(0, UTC))
    valid = ExportLink(LINK.url, datetime.fromtimestamp(3600, UTC))
    export = read(links=[expired, valid])

    assert export.ids() == ["u1", "u2", "u3"]
    assert len(export.store.requests) == 1
    assert read(links=[expired]).failure().cause.startswith("the link to the export has expired")


def test_passes_on_the_limits(read: Any) -> None:
    """A pause, the whole download and the size have one each."""
    export = read(timeout=7.0, download_timeout=70.0, download_bytes=700)

    export.ids()

    assert export.store.limits == [{"stall_timeout": 7.0, "timeout": 70.0, "max_bytes": 700}]


def test_the_whole_download_has_one_timeout(read: Any) -> None:
    """However often it breaks off."""
    parts = [Stored(FILE, etag='"1"', breaks_at=end) for end in range(2, len(FILE) - 1, 2)]

    assert read(parts, download_timeout=10.0).failure() == Misconfigured(
        "acme", "the export exceeds download_timeout", "Raise download_timeout."
    )


@pytest.mark.parametrize(
    ("stored", "maximum"),
    [(Stored(no_response=NoResponse.TOO_LARGE), 10**6), (Stored(gzip.compress(FILE * 1000, mtime=0)), 10_000)],
)
def test_a_large_file_names_the_setting(read: Any, stored: Stored, maximum: int) -> None:
    """It is measured packed and unpacked."""
    assert read([stored], download_bytes=maximum).failure() == Misconfigured(
        "acme", "the export exceeds download_bytes", "Raise download_bytes."
    )


def test_a_line_without_an_end_fills_no_memory(read: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not a user."""
    monkeypatch.setattr(exports, "_MAX_LINE_BYTES", 100)
    long = lines("u" * 100)

    assert read([Stored(long)]).failure() == Unknown("acme", "download of the export: line 1 is not a user")


def test_an_untrusted_store_stops_at_once(read: Any) -> None:
    """Its certificate will not change."""
    export = read([Stored(no_response=NoResponse.UNTRUSTED)])

    assert type(export.failure()) is Misconfigured
    assert export.clock.slept == []


def test_a_full_disk_is_the_users_to_solve(read: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not a failure of the vendor, and the export is not started twice."""

    def fail() -> None:
        raise OSError(28, "No space left on device")

    export = read()
    monkeypatch.setattr(tempfile, "TemporaryFile", fail)

    for _ in range(2):
        with pytest.raises(SourceError, match="temporary file cannot be written: No space left on device"):
            export.ids()
    assert (export.reader.failure, export.vendor.started) == (None, 1)


def test_closing_deletes_the_file(read: Any) -> None:
    """It has no name, and only its owner could read it."""
    export = read()
    export.ids()
    file = export.reader._file.raw  # noqa: SLF001

    export.reader.close()

    assert file.closed


def test_no_text_shows_the_link(read: Any) -> None:
    """Anybody can download from it."""
    export = read([Stored(status=403)])

    assert "canary" not in f"{export.failure()} {export.waits} {export.reader!r}"
