"""Exports of all individuals of Fullstory: the exchanges, and the rows of the file."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from support.scripted import Script

from replay_identity import Fullstory, InvalidTraitsError, Misconfigured, Rejected, Unavailable, Unknown
from replay_identity.adapters import ExportLink, ExportProgress, Request, Response, SupportsExport
from replay_identity.outcomes import explain
from replay_identity.retry import RetryPolicy

KEY = "na1.by11Qcanary/DEMO"
BACKEND = Fullstory(KEY)
LINK = "https://storage.example/exports/1?signature=canary"


def ask(make_exchange: Callable[[], Any], response: Response) -> tuple[Request, Any]:
    """Return the request of an exchange, and its result for *response*."""
    script = Script([response])
    result = script.transport(RetryPolicy(attempts=1)).run(make_exchange())
    return script.sent[0], result


def ok(**content: Any) -> Response:
    """Return a successful response with *content*."""
    return Response(200, body=orjson.dumps(content))


def poll(response: Response, operation: str = "op/1") -> Any:
    """Return the result of polling an operation."""
    return ask(lambda: BACKEND.poll_export(operation), response)[1]


def link(response: Response, backend: Fullstory = BACKEND) -> Any:
    """Return the result of asking for a link."""
    return ask(lambda: backend.link_export("file-1"), response)[1]


def read(**columns: Any) -> Any:
    """Return the individual with *columns* in an export."""
    return BACKEND.read_exported(orjson.dumps({"IndvId": 1, **columns}))


def test_exports_everyone_of_all_time() -> None:
    """Without a range of its own, the segment has the last 30 days only."""
    request, operation = ask(BACKEND.start_export, ok(operationId="op/1"))

    assert operation == "op/1"
    assert (request.method, request.url) == ("POST", "https://api.fullstory.com/segments/v1/exports")
    assert orjson.loads(request.body or b"") == {
        "segmentId": "everyone",
        "type": "TYPE_INDIVIDUAL",
        "format": "FORMAT_NDJSON",
        "timeRange": {"start": "", "end": ""},
        "segmentTimeRange": {"start": "", "end": ""},
        "fields": ["IndvId", "UserAppKey", "UserDisplayName", "UserEmail", "UserCreated", "user_*"],
    }


def test_fullstory_supports_exports() -> None:
    """The protocol has no vendor's name."""
    assert isinstance(BACKEND, SupportsExport)


def test_asks_for_the_operation_and_its_file() -> None:
    """The ids are quoted in the paths."""
    polled, progress = ask(
        lambda: BACKEND.poll_export("op/1"), ok(state="COMPLETED", results={"searchExportId": "file/1"})
    )
    linked, found = ask(
        lambda: BACKEND.link_export("file/1"), ok(location=LINK, expires="2026-12-01T00:00:00.123456789Z")
    )

    assert (polled.method, polled.url) == ("GET", "https://api.fullstory.com/operations/v1/op%2F1")
    assert progress == ExportProgress("file/1")
    assert (linked.method, linked.url) == ("GET", "https://api.fullstory.com/search/v1/exports/file%2F1/results")
    assert found == ExportLink(LINK, datetime(2026, 12, 1, 0, 0, 0, 123456, tzinfo=UTC))


@pytest.mark.parametrize("segment", ["", ".", ".."])
def test_refuses_ids_that_change_the_path(segment: str) -> None:
    """HTTP clients would drop them from the URL."""
    with pytest.raises(InvalidTraitsError):
        BACKEND.poll_export(segment)
    with pytest.raises(InvalidTraitsError):
        BACKEND.link_export(segment)
    assert type(poll(ok(state="COMPLETED", results={"searchExportId": segment}))) is Unknown


@pytest.mark.parametrize(("state", "makes_progress"), [("PENDING", True), ("UNKNOWN", False), ("PAUSED", False)])
def test_only_pending_means_progress(state: str, makes_progress: bool) -> None:  # noqa: FBT001  # A column.
    """A state that is not documented may never end."""
    assert poll(ok(state=state)) == ExportProgress(makes_progress=makes_progress)


@pytest.mark.parametrize(
    "response",
    [ok(), ok(state=1), ok(state="COMPLETED"), ok(state="COMPLETED", results=[]), Response(200, body=b"<p>")],
)
def test_an_unreadable_progress_is_unknown(response: Response) -> None:
    """It can be asked again."""
    assert poll(response) == Unknown("fullstory", "HTTP 200 with an unexpected body", status=200)


def test_a_failed_export_says_why_without_the_key() -> None:
    """The details are the vendor's own words."""
    failure = poll(ok(state="FAILED", errorDetails=f"The export of {KEY} failed."))

    assert type(failure) is Rejected
    assert failure.code == "the export failed"
    assert KEY not in explain(failure)
    assert poll(ok(state="FAILED")) == Rejected("fullstory", code="the export failed")


@pytest.mark.parametrize("status", [404, 410])
@pytest.mark.parametrize("body", [b"", b'{"code": 5, "message": "not found"}', b'{"code": "not_found"}'])
def test_exports_that_are_gone_are_rejected(status: int, body: bytes) -> None:
    """Then a new one can be started."""
    gone = Rejected("fullstory", code=f"HTTP {status}")

    assert poll(Response(status, body=body)) == gone
    assert link(Response(status, body=body)) == gone


def test_a_wrong_address_is_not_a_lost_export() -> None:
    """An export that was never started cannot be gone."""
    assert type(ask(BACKEND.start_export, Response(404))[1]) is Misconfigured


def test_a_key_without_exports_gets_a_hint() -> None:
    """The add-on or the role is missing; the pages need neither."""
    for exchange in (BACKEND.start_export, lambda: BACKEND.link_export("file-1")):
        failure = ask(exchange, Response(403, body=b'{"code": "forbidden"}'))[1]

        assert type(failure) is Misconfigured
        assert "add-on" in failure.hint
        assert "Architect" in failure.hint


def test_a_quota_says_how_long_to_wait() -> None:
    """Starting, polling and linking have quotas."""
    limited = Response(429, headers={"retry-after": "7"})

    for exchange in (BACKEND.start_export, lambda: BACKEND.poll_export("1"), lambda: BACKEND.link_export("1")):
        assert ask(exchange, limited)[1] == Unavailable("fullstory", "HTTP 429", 7.0, 429)


@pytest.mark.parametrize(
    "url",
    [
        "http://storage.example/x",
        "ftp://storage.example/x",
        "file:///etc/passwd",
        "https://user:password@storage.example/x",
        "https:///x",
        "https://[/x",
        "https://storage.example/a b",
        "https://storage.example/\nx",
        "x",
    ],
)
def test_follows_only_safe_links(url: str) -> None:
    """Everything else could show the users to others; the failure does not show the link."""
    failure = link(ok(location=url))

    assert failure == Unknown("fullstory", "the link of the export is not an https URL", status=200)


def test_links_may_be_http_where_the_api_may() -> None:
    """That is on this machine, or where the settings allow it."""
    plain = ok(location="http://storage.example/x")

    assert link(ok(location="http://127.0.0.1:8080/x")) == ExportLink("http://127.0.0.1:8080/x")
    assert link(plain, Fullstory(KEY, allow_insecure=True)) == ExportLink("http://storage.example/x")


@pytest.mark.parametrize("response", [ok(), ok(location=None), Response(200, body=b"<p>")])
def test_a_missing_link_is_unknown(response: Response) -> None:
    """It can be asked for again."""
    assert type(link(response)) is Unknown


@pytest.mark.parametrize("expires", ["soon", None, 7])
def test_an_unreadable_time_is_none(expires: Any) -> None:
    """The store says when a link has expired."""
    assert link(ok(location=LINK, expires=expires)) == ExportLink(LINK)


def test_links_are_not_in_the_repr() -> None:
    """Anybody can download from them."""
    assert "canary" not in repr(ExportLink(LINK))


def test_reads_an_individual() -> None:
    """Each property has a column with its type."""
    user = read(
        UserAppKey="u1",
        UserDisplayName="Ann",
        UserEmail="ann@example.com",
        UserCreated="2026-01-02T03:04:05Z",
        user_plan_str="pro",
        user_days_left_int=43,
        user_tags_strs=["a", "b"],
        **{"user_company.size_int": 7, "user_company.name_str": "Analytical Engines"},
    )

    assert (user.vendor_id, user.user_id, user.name, user.email) == ("1", "u1", "Ann", "ann@example.com")
    assert user.created_at == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert user.traits == {
        "plan": "pro",
        "days_left": 43,
        "tags": ["a", "b"],
        "company": {"size": 7, "name": "Analytical Engines"},
    }
    assert user.types == {
        "plan": "str",
        "days_left": "int",
        "tags": "strs",
        "company.size": "int",
        "company.name": "str",
    }


@pytest.mark.parametrize("empty", ["", None])
def test_an_empty_column_is_absent(empty: Any) -> None:
    """Without an id, the individual is anonymous."""
    user = read(UserAppKey=empty, UserDisplayName=empty, UserEmail=empty, UserCreated=empty, user_plan_str=None)

    assert (user.user_id, user.name, user.email, user.created_at, user.traits) == (None, None, None, None, {})


@pytest.mark.parametrize("individual", [2**63 - 1, str(2**63 - 1)])
def test_reads_ids_of_64_bits(individual: Any) -> None:
    """As a number or as a text, without a loss."""
    assert BACKEND.read_exported(orjson.dumps({"IndvId": individual})).vendor_id == "9223372036854775807"  # type: ignore[union-attr]


def test_reads_whole_numbers_that_are_texts() -> None:
    """JSON that was made from protocol buffers has them."""
    user = read(user_big_int=str(2**60), user_many_ints=["1", 2], user_plan_str="7", user_odd_int="seven")

    assert user.traits == {"big": 2**60, "many": [1, 2], "plan": "7", "odd": "seven"}


def test_a_property_without_a_known_type_has_none() -> None:
    """The name is all that follows the prefix."""
    user = read(user_plan="pro", user_plan_b_float=1.5, user_=1, user__str="x")

    assert user.traits == {"plan": "pro", "plan_b_float": 1.5, "_str": "x"}
    assert user.types == {}


def test_a_time_without_a_zone_is_utc() -> None:
    """All times of an export are."""
    assert read(UserCreated="2026-01-02T03:04:05").created_at == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("columns", "conflicts"),
    [
        ({"user_plan_str": "pro", "user_plan_int": 7}, {"plan": ["int", "str"]}),
        ({"user_plan_str": "pro", "user_plan.name_str": "x"}, {"plan": ["str"], "plan.name": ["str"]}),
        ({"user_plan_str": "pro", "user_plan_int": None}, {}),
    ],
)
def test_leaves_out_properties_of_several_types(columns: Mapping[str, Any], conflicts: Mapping[str, Any]) -> None:
    """Nothing says which value is newest; the conflict is reported."""
    user = read(user_days_int=1, **columns)

    assert user.type_conflicts == conflicts
    assert user.traits == ({"days": 1} if conflicts else {"days": 1, "plan": "pro"})


@pytest.mark.parametrize(
    "line",
    [b"", b"x", b"[]", b"1", b"{}", b'{"IndvId": null}', b'{"IndvId": ""}', b'{"IndvId": true}', b'{"IndvId": 1'],
)
def test_other_lines_have_no_individual(line: bytes) -> None:
    """A file that was cut off has such a line."""
    assert BACKEND.read_exported(line) is None
