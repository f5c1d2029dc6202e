"""Fullstory's batch imports: items, jobs, and matching result rows with users."""

import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any, TypeVar

import attrs
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.exchanges import run

from replay_identity import (
    Accepted,
    ConfigurationError,
    Fullstory,
    InvalidTraitsError,
    LogRocket,
    Misconfigured,
    Outcome,
    Rejected,
    Unavailable,
    Unknown,
    UserTraits,
)
from replay_identity.adapters import (
    BatchEntry,
    BatchTooLarge,
    EncodedUser,
    Exchange,
    JobProgress,
    NoResponse,
    Request,
    Response,
    Sleep,
    SupportsBatch,
    Unit,
)
from replay_identity.adapters.exchange import AFTER_SLEEP
from replay_identity.outcomes import explain
from replay_identity.testing import bodies, responses, texts, user_traits
from replay_identity.transport.attempts import Attempts, Send

T = TypeVar("T")

KEY = "na1.by11Qcanary/DEMO"
BACKEND = Fullstory(KEY)
LENIENT = Fullstory(KEY, on_violation="adapt")
JOB = "abd123="
JOB_URL = "https://api.fullstory.com/v2/users/batch/abd123%3D"
OPERATION = "idem-key-canary"
ANN = UserTraits("u1", name="Ann", traits={"days": 43})
NOT_IN_RESULTS = "the results of the job do not show this user"
Row = dict[str, Any]


def json_response(content: object, status: int = 200) -> Response:
    """Return a response with *content*."""
    return Response(status, body=orjson.dumps(content))


def page(*rows: Row, token: str | None = None) -> Response:
    """Return one page of results."""
    return json_response({"results": rows, "total_records": str(len(rows)), "next_page_token": token})


NO_ROWS = page()
FORBIDDEN = json_response({"code": "forbidden", "message": "insufficient permissions"}, 403)


def status_of(status: object, **counts: object) -> Response:
    """Return a response with the status of a job."""
    return json_response({"job": {"id": JOB, "status": status, "created": "2026-11-21T08:00:00.123Z"}, **counts})


def serve(exchange: Exchange[T], respond: Callable[[Request], Response]) -> tuple[T, list[Request], list[float]]:
    """Send the responses to *exchange*; return its result, its requests and its pauses."""
    requests: list[Request] = []
    pauses: list[float] = []
    response: Response | None = None
    while True:
        try:
            action = next(exchange) if response is None else exchange.send(response)
        except StopIteration as stop:
            result: T = stop.value
            return result, requests, pauses
        if isinstance(action, Sleep):
            pauses.append(action.seconds)
            response = AFTER_SLEEP
        else:
            requests.append(action)
            response = respond(action)


def collect(entries: Sequence[BatchEntry], *responses: Response) -> tuple[Outcome, ...]:
    """Return the outcomes of *entries* when Fullstory sends *responses* in turn."""
    outcomes, _ = run(BACKEND.collect_job(JOB, entries), *responses)
    assert isinstance(outcomes, tuple)
    return outcomes


def content(**fields: Any) -> bytes:
    """Return an encoded item."""
    return orjson.dumps(fields)


def rejection(code: str, message: str | None = None) -> Rejected:
    """Return a rejection by the vendor."""
    return Rejected("fullstory", code=code, message=message)


# Items


def test_only_fullstory_supports_batches() -> None:
    """Use isinstance to find out."""
    assert isinstance(BACKEND, SupportsBatch)
    assert not isinstance(LogRocket("acme:shop:key"), SupportsBatch)


def test_batch_limits_are_those_published() -> None:
    """Each one has a source and a date."""
    limits = BACKEND.batch_limits

    assert (limits.users.maximum, limits.users.unit, limits.users.rule) == (50_000, Unit.USERS, "batch-users")
    assert (limits.running_jobs.maximum, limits.running_jobs.unit) == (100, Unit.JOBS)
    assert limits.running_jobs.rule == "running-jobs"
    assert (limits.open_jobs.maximum, limits.open_jobs.unit, limits.open_jobs.rule) == (200, Unit.JOBS, "open-jobs")
    assert (limits.open_users.maximum, limits.open_users.unit) == (500_000, Unit.USERS)
    assert limits.open_users.rule == "open-users"
    assert (limits.key_lifetime.maximum, limits.key_lifetime.unit, limits.key_lifetime.rule) == (
        24,
        Unit.HOURS,
        "key-lifetime",
    )
    assert {limit.read_on for _, limit in limits} == {date(2026, 11, 21)}
    assert all(limit.source.startswith("https://developer.fullstory.com/") for _, limit in limits)


def test_an_item_has_the_fullstory_id() -> None:
    """It is looked up by the backend's name; a single request has it in the URL."""
    europe = Fullstory("eu1.key", name="fs-eu")
    user = UserTraits("u1", vendor_ids={"fullstory": "1", "fs-eu": "2"})

    assert orjson.loads(BACKEND.encode_for_batch(user).content or b"") == {"uid": "u1", "id": "1"}
    assert europe.encode_for_batch(user) == EncodedUser("fs-eu", b'{"uid":"u1","id":"2"}', fields={})


@given(user=user_traits(), lenient=st.booleans())
def test_an_item_equals_a_single_request(user: UserTraits, lenient: bool) -> None:  # noqa: FBT001
    """Content, adjustments and violations are the same, apart from the id."""
    backend = LENIENT if lenient else BACKEND

    item, plan = backend.encode_for_batch(user), backend.plan(user)

    assert (item.backend, item.adjustments, item.violations) == (plan.backend, plan.adjustments, plan.violations)
    assert (item.content is None) == (plan.request is None)
    if item.content is not None and plan.request is not None:
        vendor_id = user.vendor_ids.get("fullstory")
        id_field = {} if vendor_id is None else {"id": vendor_id}
        assert orjson.loads(item.content) == orjson.loads(plan.request.body or b"") | id_field


@given(batch=st.lists(user_traits(), max_size=4))
def test_a_body_contains_its_items_in_order(batch: list[UserTraits]) -> None:
    """They are joined unchanged."""
    contents = [item for user in batch if (item := LENIENT.encode_for_batch(user).content) is not None]

    body = BACKEND.batch_body(iter(contents))

    assert orjson.loads(body) == {"requests": [orjson.loads(each) for each in contents]}
    assert all(each in body for each in contents)


@given(batch=st.lists(user_traits(), max_size=4))
def test_a_body_can_be_split(batch: list[UserTraits]) -> None:
    """A batch that was stored before it was sent is split into the same bytes."""
    contents = [item for user in batch if (item := LENIENT.encode_for_batch(user).content) is not None]

    assert BACKEND.batch_contents(BACKEND.batch_body(contents)) == contents


# Creating


def create(response: Response, body: bytes = b'{"requests":[{"uid":"u1"}]}') -> Any:
    """Return the result of creating a job when Fullstory sends *response*."""
    return run(BACKEND.create_job(body, idempotency_key=OPERATION), response)[0]


def test_creates_a_job_with_the_callers_key() -> None:
    """The body is sent unchanged, and the id is opaque."""
    body = BACKEND.batch_body([BACKEND.encode_for_batch(ANN).content or b""])
    created = json_response({"job": {"id": JOB, "status": "PROCESSING", "created": "2026-11-21T08:00:00.12Z"}})

    job_id, requests = run(BACKEND.create_job(body, idempotency_key=OPERATION), created)

    assert job_id == JOB
    assert requests == [
        Request(
            "create_job",
            "POST",
            "https://api.fullstory.com/v2/users/batch",
            {
                "accept": "application/json",
                "authorization": f"Basic {KEY}",
                "content-type": "application/json",
                "idempotency-key": OPERATION,
            },
            body,
            "idempotency-key",
            creates=True,
        )
    ]


def test_retries_send_the_callers_key() -> None:
    """Even a 500 does not change it, since the job may exist."""
    steps = Attempts(new_key=lambda: "another").run_steps(BACKEND.create_job(b"{}", idempotency_key=OPERATION))
    step = next(steps)
    keys: list[str] = []
    for response in (Response(500), AFTER_SLEEP, Response(502), AFTER_SLEEP):
        if isinstance(step, Send):
            keys.append(step.request.headers["idempotency-key"])
        step = steps.send(response)
    assert isinstance(step, Send)
    keys.append(step.request.headers["idempotency-key"])

    assert keys == [OPERATION] * 3


def test_an_invalid_key_raises() -> None:
    """Nothing is sent, and the error does not quote it."""
    with pytest.raises(ConfigurationError, match=r"^idempotency_key: ") as caught:
        run(BACKEND.create_job(b"{}", idempotency_key="canary\r\nx: y"))

    assert "canary" not in str(caught.value)


DOCUMENTED = "HTTP 200 with an unexpected body"


@pytest.mark.parametrize(
    ("response", "result"),
    [
        (Response(413, body=b"<html>Too large</html>"), BatchTooLarge("fullstory")),
        (Response(409), Unknown("fullstory", "HTTP 409, an earlier attempt may still be running", status=409)),
        (Response(429, {"retry-after": "30"}), Unavailable("fullstory", "HTTP 429", 30.0, status=429)),
        (Response(503), Unavailable("fullstory", "HTTP 503", status=503)),
        (Response(504), Unknown("fullstory", "HTTP 504", status=504)),
        (
            Response(0, no_response=NoResponse.CONNECTION_LOST),
            Unknown("fullstory", "the connection was lost before the response"),
        ),
        (json_response({"job": {"id": ""}}), Unknown("fullstory", DOCUMENTED, status=200)),
        (json_response({"job": {"id": "."}}), Unknown("fullstory", DOCUMENTED, status=200)),
        (json_response({"job": {"id": ".."}}), Unknown("fullstory", DOCUMENTED, status=200)),
        (json_response({"job": {"id": 7}}), Unknown("fullstory", DOCUMENTED, status=200)),
        (json_response({"job": JOB}), Unknown("fullstory", DOCUMENTED, status=200)),
        (json_response({"id": JOB}), Unknown("fullstory", DOCUMENTED, status=200)),
        (Response(200, body=b"<html>Log in</html>"), Unknown("fullstory", DOCUMENTED, status=200)),
        (json_response({"job": {"id": JOB}}, 400), rejection("HTTP 400")),
    ],
)
def test_every_response_to_a_creation_has_a_result(response: Response, result: object) -> None:
    """An id is returned only if Fullstory sent one."""
    assert create(response) == result


def test_the_message_about_a_batch_is_redacted() -> None:
    """This is done for batches that are small enough."""
    user = UserTraits(
        "canary-1", email="canary@example.com", traits={"days": 43, "since": datetime(2019, 2, 3, 4, 5, tzinfo=UTC)}
    )
    body = BACKEND.batch_body([BACKEND.encode_for_batch(user).content or b""])
    message = f"canary-1 <canary@example.com> since 2019-02-03 04:05:00: 43 is not an int ({KEY}, {OPERATION})"

    result = create(json_response({"code": "invalid", "message": message}, 400), body)

    assert result == rejection("invalid", "••• since ••• is not an int •••")


@pytest.mark.parametrize(
    ("code", "kept_code"),
    [
        ("required_field", "required_field"),
        ("canary", "HTTP 400"),
        ("uid canary", "HTTP 400"),
        ("invalid_plan", "HTTP 400"),
        (KEY, "HTTP 400"),
        (OPERATION, "HTTP 400"),
        (7, "HTTP 400"),
    ],
)
def test_the_message_about_a_large_batch_is_dropped(code: object, kept_code: str) -> None:
    """It may quote any user; a code is kept unless it may be personal."""
    body = content(requests=[{"uid": "canary", "properties": {"long": "x" * 70_000, "plan": "invalid_plan"}}])

    assert create(json_response({"code": code, "message": "canary"}, 400), body) == rejection(kept_code)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", content(requests=[]), content(requests=[{"properties": {"l": [None]}}])]
)
def test_the_message_about_an_unreadable_batch_is_dropped(body: bytes) -> None:
    """Without knowing what was sent, it cannot be redacted."""
    assert create(json_response({"code": "invalid", "message": "canary"}, 400), body) == rejection("invalid")


# Polling


@pytest.mark.parametrize(
    ("status", "running"),
    [
        ("PROCESSING", True),
        ("UNKNOWN", True),
        ("PENDING", True),
        (None, True),
        (7, True),
        ([], True),
        ("COMPLETED", False),
        ("FAILED", False),
    ],
)
def test_a_job_runs_until_a_final_status(status: object, running: bool) -> None:  # noqa: FBT001
    """A status that is not documented as final means running."""
    progress, requests = run(BACKEND.poll_job(JOB), status_of(status, imports=42, errors=2))

    unknown = status if isinstance(status, str) and running and status != "PROCESSING" else None
    assert progress == JobProgress(running, 42, 2, unknown)
    assert [(request.method, request.url, request.body) for request in requests] == [("GET", JOB_URL, None)]
    assert requests[0].idempotency_header is None


@pytest.mark.parametrize("counts", [{}, {"imports": None, "errors": None}, {"imports": True, "errors": -1}])
def test_missing_counts_are_zero(counts: Mapping[str, Any]) -> None:
    """Errors are "only included for failed imports"."""
    assert run(BACKEND.poll_job(JOB), status_of("COMPLETED", **counts))[0] == JobProgress(running=False)


@pytest.mark.parametrize(
    ("response", "failure"),
    [
        (json_response({"code": "resource_not_found", "message": f"no {JOB}"}, 404), rejection("resource_not_found")),
        (json_response({"code": "forbidden"}, 403), "HTTP 403 forbidden"),
        (Response(503), Unavailable("fullstory", "HTTP 503", status=503)),
        (json_response({}), Unknown("fullstory", DOCUMENTED, status=200)),
        (json_response({"imports": 1, "errors": 0, "job": "COMPLETED"}), Unknown("fullstory", DOCUMENTED, status=200)),
    ],
)
def test_a_missing_status_is_a_failure(response: Response, failure: object) -> None:
    """An unknown status does not mean that the job is done."""
    result, _ = run(BACKEND.poll_job(JOB), response)

    assert (result.problem if isinstance(result, Misconfigured) else result) == failure


@pytest.mark.parametrize(("job_id", "segment"), [("0xo123", "0xo123"), ("a/b?c#d é", "a%2Fb%3Fc%23d%20%C3%A9")])
def test_a_job_id_is_percent_encoded(job_id: str, segment: str) -> None:
    """It is opaque, so it may contain any character."""
    _, requests = run(BACKEND.poll_job(job_id), Response(503))
    _, pages = run(BACKEND.collect_job(job_id, []), Response(503))

    assert requests[0].url == f"https://api.fullstory.com/v2/users/batch/{segment}"
    assert pages[0].url == f"https://api.fullstory.com/v2/users/batch/{segment}/imports"


@pytest.mark.parametrize("bad", ["", ".", "..", "\ud800", 7])
def test_a_job_id_of_dots_raises(bad: Any) -> None:
    """HTTP clients would request another path."""
    with pytest.raises(InvalidTraitsError, match=r"^job_id: "):
        run(BACKEND.poll_job(bad))
    with pytest.raises(InvalidTraitsError, match=r"^job_id: "):
        run(BACKEND.collect_job(bad, []))


# Pages of results


@pytest.mark.parametrize("last", ["", None])
def test_reads_all_pages_of_imports_and_errors(last: str | None) -> None:
    """The final status does not matter: COMPLETED may hide errors and FAILED imports."""
    entries = [BatchEntry(user_id=f"u{number}") for number in range(4)]
    responses = [
        page({"id": "1", "uid": "u0"}, token="t=1"),
        page({"id": "2", "uid": "u1"}, token=last),
        page({"code": "bad", "message": "no", "user": {"uid": "u2"}}, token="t=1"),
        page({"code": "bad", "message": "not", "user": {"uid": "u3"}}),
    ]

    outcomes, requests = run(BACKEND.collect_job(JOB, entries), *responses)

    assert outcomes == (
        Accepted("fullstory", "1"),
        Accepted("fullstory", "2"),
        rejection("bad", "no"),
        rejection("bad", "not"),
    )
    paths = ["/imports", "/imports?page_token=t%3D1", "/errors", "/errors?page_token=t%3D1"]
    assert [(each.operation, each.method, each.url) for each in requests] == [
        ("collect_job", "GET", JOB_URL + path) for path in paths
    ]


@pytest.mark.parametrize("empty", [{"total_records": "0"}, {"results": None, "total_records": "0"}, {"results": []}])
def test_a_page_may_have_no_results(empty: Row) -> None:
    """They are not required on a page of errors."""
    assert collect([BatchEntry(user_id="u1")], page({"uid": "u1", "id": "1"}), json_response(empty)) == (
        Accepted("fullstory", "1"),
    )


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b"<html>",
        b'{"results":{"uid":"u1"}}',
        b'{"results":[7]}',
        b'{"results":7}',
        b'{"code":"x"}',
        b'{"results":[{}]}',
    ],
)
@pytest.mark.parametrize("kind", ["imports", "errors"])
def test_an_invalid_page_is_unknown(body: bytes, kind: str) -> None:
    """A row that is skipped silently would be a lost user."""
    exchange = BACKEND.collect_job(JOB, [BatchEntry(user_id="u1")])

    result, _, _ = serve(exchange, lambda request: Response(200, body=body) if kind in request.url else NO_ROWS)

    assert result == Unknown("fullstory", DOCUMENTED, status=200)


def test_a_failed_page_has_no_message() -> None:
    """Its message may quote any user."""
    response = json_response({"code": "resource_not_found", "message": "canary"}, 404)

    assert run(BACKEND.collect_job(JOB, []), response)[0] == rejection("resource_not_found")
    for secret in ("my_key", "my_job", JOB):
        exchange = Fullstory("my_key").collect_job("my_job", [])
        assert run(exchange, json_response({"code": secret}, 404))[0] == rejection("HTTP 404")


def test_polls_until_results_are_ready() -> None:
    """A 202 means that the job still runs; the pauses get longer."""
    entries = [BatchEntry(user_id="u1")]
    responses = iter(
        [*[Response(202)] * 6, page({"uid": "u1"}, token="t"), Response(202), NO_ROWS, Response(202), NO_ROWS]
    )

    outcomes, requests, pauses = serve(BACKEND.collect_job(JOB, entries), lambda _: next(responses))

    assert outcomes == (Accepted("fullstory"),)
    assert pauses == [1.0, 2.0, 4.0, 8.0, 15.0, 15.0, 15.0, 15.0]
    assert [request.url.removeprefix(JOB_URL) for request in requests] == [
        *["/imports"] * 7,
        *["/imports?page_token=t"] * 2,
        *["/errors"] * 2,
    ]


def test_polling_for_results_ends() -> None:
    """After five minutes of pauses the caller may try again later."""
    failure, _, pauses = serve(BACKEND.collect_job(JOB, []), lambda _: Response(202))

    assert failure == Unavailable("fullstory", "HTTP 202, the results of the job are not ready", status=202)
    assert sum(pauses) == 300.0
    assert max(pauses) == 15.0


@pytest.mark.parametrize("tokens", [["t", "t"], ["t", "u", "t"]])
def test_a_repeated_token_is_unknown(tokens: list[str]) -> None:
    """Going on would read the same pages without end."""
    responses = [page({"uid": "u1"}, token=token) for token in tokens]

    result, _ = run(BACKEND.collect_job(JOB, [BatchEntry(user_id="u1")]), *responses)

    assert result == Unknown("fullstory", "the vendor names the same page as the next one")


@pytest.mark.parametrize(("users", "pages"), [(1, 101), (150, 151)])
def test_endless_pages_are_unknown(users: int, pages: int) -> None:
    """There is always a next page with a new token, though each user is in one row only."""
    numbers = itertools.count()
    entries = [BatchEntry(user_id=f"u{number}") for number in range(users)]

    result, requests, _ = serve(BACKEND.collect_job(JOB, entries), lambda _: page(token=f"t{next(numbers)}"))

    assert result == Unknown("fullstory", "the vendor has more pages of results than the batch has users")
    assert len(requests) == pages


# A key that may not see the results


@pytest.mark.parametrize("before", [[], [page({"uid": "u0", "id": "1"})]])
def test_counts_settle_all_users_without_access(before: list[Response]) -> None:
    """A Standard key may create and poll; if no user was rejected, all are accepted."""
    entries = [BatchEntry(user_id="u0"), BatchEntry(user_id="u1")]

    outcomes = collect(entries, *before, FORBIDDEN, status_of("COMPLETED", imports=2, errors=0))

    assert outcomes == (Accepted("fullstory"), Accepted("fullstory"))


@pytest.mark.parametrize(
    "status",
    [
        status_of("COMPLETED", imports=1, errors=1),
        status_of("COMPLETED", imports=2, errors=1),
        status_of("COMPLETED", imports=1),
        status_of("COMPLETED", imports=3),
        status_of("PROCESSING", imports=2),
    ],
)
def test_missing_access_is_misconfigured(status: Response) -> None:
    """This key cannot learn which users were rejected."""
    entries = [BatchEntry(user_id="u0"), BatchEntry(user_id="u1")]

    result, _ = run(BACKEND.collect_job(JOB, entries), FORBIDDEN, status)

    assert result == Misconfigured(
        "fullstory",
        "HTTP 403, the key may not see the results of the job",
        "Learning which users were rejected needs an Architect or Admin key.",
    )


def test_missing_counts_are_a_failure() -> None:
    """The results can be collected again."""
    assert run(BACKEND.collect_job(JOB, []), FORBIDDEN, Response(503))[0] == Unavailable(
        "fullstory", "HTTP 503", status=503
    )


# Matching rows with users


ANONYMOUS = BatchEntry(content=content(display_name="Ann", properties={"days": 43, "on": True}))
SHOWN_ANONYMOUS = {"id": "9", "uid": None, "display_name": "Ann", "email": "", "properties": {"days": 43.0, "on": True}}


@pytest.mark.parametrize(
    ("entry", "row", "vendor_id"),
    [
        (BatchEntry(user_id="u1"), {"uid": "u1", "id": "9"}, "9"),
        (BatchEntry(user_id="u1"), {"uid": "u1"}, None),
        (BatchEntry(user_id="u1"), {"uid": "u1", "id": ""}, None),
        (BatchEntry(vendor_id="7"), {"id": "7"}, "7"),
        (BatchEntry(vendor_id="7"), {"id": "7", "uid": "u1"}, "7"),
        (BatchEntry(user_id="u1", vendor_id="7"), {"id": "9", "uid": "u1"}, "9"),
        (BatchEntry(user_id="u1", vendor_id="7"), {"id": "7", "uid": None}, "7"),
        (ANONYMOUS, SHOWN_ANONYMOUS, "9"),
        (ANONYMOUS, {**SHOWN_ANONYMOUS, "uid": "", "schema": {"properties": {"days": "int"}}}, "9"),
        (ANONYMOUS, {**SHOWN_ANONYMOUS, "properties": {"on": True, "days": 43, "other": None}}, "9"),
        (BatchEntry(content=content(display_name="Ann")), {"id": "9", "display_name": "Ann", "properties": None}, "9"),
        (BatchEntry(content=content(display_name="Ann")), {"id": "9", "display_name": "Ann", "properties": {}}, "9"),
    ],
)
def test_matches_an_import_with_its_entry(entry: BatchEntry, row: Row, vendor_id: str | None) -> None:
    """Rows match by uid, Fullstory id or content; an unknown one rules out elimination."""
    outcomes = collect([entry, BatchEntry(user_id="lost")], page(row), NO_ROWS)

    assert outcomes == (Accepted("fullstory", vendor_id), Unknown("fullstory", NOT_IN_RESULTS))


@pytest.mark.parametrize(
    "row",
    [
        {"uid": "u2", "id": "7"},
        {"uid": "U1"},
        {"uid": None, "id": "8"},
        {"uid": 1},
        {**SHOWN_ANONYMOUS, "uid": "u2"},
        {**SHOWN_ANONYMOUS, "display_name": "Bob"},
        {**SHOWN_ANONYMOUS, "properties": {"days": 44, "on": True}},
        {**SHOWN_ANONYMOUS, "properties": {"days": 43, "on": 1}},
        {**SHOWN_ANONYMOUS, "properties": [["days", 43]]},
        {**SHOWN_ANONYMOUS, "properties": "days"},
    ],
)
def test_does_not_match_another_user(row: Row) -> None:
    """A user accepted by mistake would be lost."""
    entries = [BatchEntry(user_id="u1", vendor_id="7"), ANONYMOUS]

    assert collect(entries, page(row), NO_ROWS) == (
        Unknown("fullstory", NOT_IN_RESULTS),
        Unknown("fullstory", NOT_IN_RESULTS, retryable=False),
    )


DEEP = b'{"n":' * 900 + b"1" + b"}" * 900


def test_deeply_nested_properties_match_nobody() -> None:
    """They must not raise an error either."""
    deep = b'{"results":[{"id":"9","properties":%s}],"total_records":"1"}' % DEEP
    error = b'{"results":[{"code":"bad","message":"canary","user":{"properties":%s,"schema":%s}}]}' % (
        DEEP,
        DEEP,
    )

    outcomes = collect([ANONYMOUS, ANONYMOUS], Response(200, body=deep), Response(200, body=error))

    assert outcomes == (Unknown("fullstory", NOT_IN_RESULTS, retryable=False),) * 2


def test_entries_with_one_id_share_the_outcome() -> None:
    """To Fullstory they are one user."""
    entries = [
        BatchEntry(user_id="u1"),
        BatchEntry(vendor_id="7"),
        BatchEntry(user_id="u1", vendor_id="7"),
        BatchEntry(user_id="u2"),
    ]
    imported = page({"uid": "u1", "id": "7"})

    assert collect(entries, imported, NO_ROWS)[:3] == (Accepted("fullstory", "7"),) * 3
    error = page({"code": "bad", "message": "no", "user": {"uid": "u1", "id": "7"}})
    assert collect(entries, NO_ROWS, error)[:3] == (rejection("bad", "no"),) * 3


def test_the_last_row_has_the_id() -> None:
    """A user in two rows may get another id once identified."""
    rows = page({"uid": "u1", "id": "7"}, {"uid": "u1", "id": "8"})

    assert collect([BatchEntry(user_id="u1")], rows, NO_ROWS) == (Accepted("fullstory", "8"),)


@pytest.mark.parametrize(
    ("entry", "row", "item"),
    [
        (BatchEntry(user_id="u1"), {"uid": "u1", "id": "9"}, {"uid": "u1"}),
        (ANONYMOUS, SHOWN_ANONYMOUS, {"display_name": "Ann", "properties": {"days": 43, "on": True}}),
    ],
)
def test_a_rejection_wins_over_an_import(entry: BatchEntry, row: Row, item: Row) -> None:
    """An imported user may have a rejected property, which must be reported."""
    error = {"code": "invalid_parameter", "message": "one property is too large", "user": item}

    assert collect([entry], page(row), page(error)) == (rejection("invalid_parameter", "one property is too large"),)


def test_equal_anonymous_users_get_one_row_each() -> None:
    """They are several users, each with their own id."""
    again = {**SHOWN_ANONYMOUS, "id": "10"}
    error = {"code": "bad", "message": "no", "user": {"display_name": "Ann", "properties": {"days": 43, "on": True}}}

    outcomes = collect([ANONYMOUS] * 3, page(SHOWN_ANONYMOUS, SHOWN_ANONYMOUS, again), page(error))

    assert Counter(outcomes) == Counter(
        [Accepted("fullstory", "9"), Accepted("fullstory", "10"), rejection("bad", "no")]
    )


def test_an_unmatched_anonymous_user_is_not_retryable() -> None:
    """Sent again, they could become two; a user with an id is upserted."""
    outcomes = collect([ANONYMOUS, BatchEntry(user_id="u1"), BatchEntry(vendor_id="7")], NO_ROWS, NO_ROWS)

    assert [outcome.retryable for outcome in outcomes] == [False, True, True]


# Elimination


LOST = [BatchEntry(user_id="u1"), BatchEntry(content=content(display_name="Ann"))]
ERROR_A = {"code": "bad", "message": "no", "user": {"uid": "x"}}
ERROR_B = {"code": "worse", "message": "no", "user": {"uid": "y"}}
UNSETTLED = (Unknown("fullstory", NOT_IN_RESULTS), Unknown("fullstory", NOT_IN_RESULTS, retryable=False))


@pytest.mark.parametrize(
    ("imports", "errors", "outcomes"),
    [
        ([{"id": "1"}, {"id": "2", "display_name": "User 2"}], [], (Accepted("fullstory"),) * 2),
        ([{"uid": "x"}, {"uid": "y"}], [], (Accepted("fullstory"),) * 2),
        ([], [ERROR_A, ERROR_A], (rejection("bad", "no"),) * 2),
        ([], [ERROR_A, ERROR_B], (rejection("rejected"),) * 2),
        ([{"id": "1"}], [], UNSETTLED),
        ([{"id": "1"}, {"id": "1"}], [], UNSETTLED),
        ([{"id": "1"}, {"id": "2"}, {"id": "3"}], [], UNSETTLED),
        ([{"id": "1"}], [ERROR_A], UNSETTLED),
        ([{"id": "1"}, {"id": "2"}], [ERROR_A], UNSETTLED),
        ([{"id": "1"}], [ERROR_A, ERROR_A], UNSETTLED),
        ([], [ERROR_A], UNSETTLED),
        ([], [], UNSETTLED),
    ],
)
def test_infers_unmatched_users_by_elimination(imports: list[Row], errors: list[Row], outcomes: Any) -> None:
    """As many rows of one kind must be left; the id could be another user's."""
    named = BatchEntry(user_id="u0")

    result = collect([named, *LOST], page({"uid": "u0"}, *imports), page(*errors))

    assert result == (Accepted("fullstory"), *outcomes)


# Vendor errors in rows

VENDOR_ERROR = "the vendor had an internal problem with this user"


@pytest.mark.parametrize("code", ["server_error", "too_many_requests"])
def test_a_vendor_error_in_a_row_is_unknown(code: str) -> None:
    """It says nothing against the user; an anonymous one could become two."""
    entries = [BatchEntry(user_id="u1"), BatchEntry(vendor_id="7"), ANONYMOUS, BatchEntry(user_id="u2")]
    items = [{"uid": "u1"}, {"id": "7"}, {"display_name": "Ann", "properties": {"days": 43, "on": True}}]
    errors = [{"code": code, "message": "canary", "user": item} for item in items]

    outcomes = collect(entries, page({"uid": "u2", "id": "9"}), page(*errors))

    again = Unknown("fullstory", VENDOR_ERROR)
    assert outcomes == (again, again, attrs.evolve(again, retryable=False), Accepted("fullstory", "9"))


def test_a_vendor_error_wins_over_an_import() -> None:
    """Some of their data may be lost."""
    error = {"code": "server_error", "user": {"uid": "u1"}}

    assert collect([BatchEntry(user_id="u1")], page({"uid": "u1"}), page(error)) == (
        Unknown("fullstory", VENDOR_ERROR),
    )


@pytest.mark.parametrize("imports", [[], [{"id": "1"}, {"id": "2"}]])
@pytest.mark.parametrize("errors", [[], [ERROR_A], [ERROR_A, ERROR_A]])
def test_an_unmatched_vendor_error_prevents_elimination(imports: list[Row], errors: list[Row]) -> None:
    """It may be about any user."""
    trouble = {"code": "server_error", "user": {"uid": "x"}}

    assert collect(LOST, page(*imports), page(trouble, *errors)) == UNSETTLED


# Messages of rejections


def test_the_message_of_a_row_is_redacted() -> None:
    """The values come from the row's own item and from the entry."""
    item = {
        "uid": "canary-1",
        "email": "canary@example.com",
        "properties": {"plan": "canary-pro", "days": 43, "since": "2019-02-03T04:05:06Z", "n": None},
        "schema": {"properties": {"days": "int", "since": "date"}},
    }
    message = f"canary-1 canary@EXAMPLE.com canary-pro 43 int date 2019-02-03 04:05 canary-x canary-id {KEY} {JOB}"
    entry = BatchEntry(
        user_id="canary-1", vendor_id="canary-id", content=content(uid="canary-1", display_name="canary-x")
    )

    outcomes = collect([entry], NO_ROWS, page({"code": "bad_canary-1", "message": message, "user": item}))

    assert outcomes == (rejection("rejected", "••• int date •••"),)


@pytest.mark.parametrize(
    ("row", "outcome"),
    [
        ({"user": {"uid": "u1"}}, rejection("rejected")),
        ({"user": {"uid": "u1"}, "code": None, "message": 7}, rejection("rejected")),
        ({"user": {"uid": "u1"}, "code": "u1", "message": ""}, rejection("rejected", "")),
        ({"user": {"uid": "u1"}, "code": " ", "message": "no"}, rejection("rejected", "no")),
        ({"user": {"uid": "u1", "properties": {"l": [None]}}, "code": "bad", "message": "canary"}, rejection("bad")),
        ({"user": {"uid": "u1", "properties": {"l": [None]}}, "code": "u1", "message": "u1"}, rejection("rejected")),
        ({"user": None, "code": "bad", "message": "canary"}, rejection("bad")),
        ({"user": "canary", "code": "bad canary", "message": "canary"}, rejection("rejected")),
        ({"code": "bad"}, rejection("bad")),
    ],
)
def test_an_incomplete_error_row_is_a_rejection(row: Row, outcome: Outcome) -> None:
    """Its message is dropped where the values are unknown."""
    assert collect([BatchEntry(user_id="u1")], NO_ROWS, page({"x": 1, **row})) == (outcome,)


# Properties of any results


FATES = st.sampled_from(["imported", "rejected", "both"])


@st.composite
def batches(draw: st.DrawFn) -> tuple[list[BatchEntry], list[str]]:
    """Return entries of every kind with different ids and contents, and the fate of each."""
    entries: list[BatchEntry] = []
    for number in range(draw(st.integers(0, 8))):
        name = f"{number}{draw(texts())}"
        entries.append(
            draw(
                st.sampled_from(
                    [
                        BatchEntry(user_id=name),
                        BatchEntry(vendor_id=name),
                        BatchEntry(user_id=name, vendor_id=f"id {name}"),
                        BatchEntry(content=content(display_name=name)),
                        BatchEntry(
                            content=content(email="a@example.com", properties={"n": {"l": [name, number, 1.5]}})
                        ),
                    ]
                )
            )
        )
    return entries, [draw(FATES) for _ in entries]


def item_of(entry: BatchEntry) -> Row:
    """Return the item that was sent for an entry."""
    fields = {"uid": entry.user_id, "id": entry.vendor_id}
    sent: Row = orjson.loads(entry.content or b"{}")
    return sent | {name: text for name, text in fields.items() if text is not None}


def paged(draw: Any, rows: list[Row]) -> dict[str | None, Response]:
    """Return *rows* in any order on pages of any size, by token."""
    rows = draw(st.permutations(rows))
    cuts = sorted(draw(st.lists(st.integers(0, len(rows)), max_size=3)))
    parts = [rows[start:end] for start, end in itertools.pairwise([0, *cuts, len(rows)])]
    tokens = [None, *(f"{number}&=" for number in range(1, len(parts))), draw(st.sampled_from(["", None]))]
    return {
        token: page(*part, token=following)
        for part, (token, following) in zip(parts, itertools.pairwise(tokens), strict=True)
    }


@given(batch=batches(), data=st.data())
def test_each_entry_gets_its_own_outcome(batch: tuple[list[BatchEntry], list[str]], data: st.DataObject) -> None:
    """Neither the order of rows, nor the pages, nor the delays matter."""
    entries, fates = batch
    imports, errors, expected = list[Row](), list[Row](), list[Outcome]()
    for number, (entry, fate) in enumerate(zip(entries, fates, strict=True)):
        item = item_of(entry)
        vendor_id = entry.vendor_id or f"new {number}"
        if fate != "rejected":
            imports.append({**item, "id": vendor_id, "schema": None, "type_conflicts": None})
        if fate != "imported":
            errors.append(
                {"code": "bad" + "_bad" * number, "message": "bad" + " bad" * number, "user": {**item, "schema": None}}
            )
        expected.append(
            Accepted("fullstory", vendor_id)
            if fate == "imported"
            else rejection("bad" + "_bad" * number, "bad" + " bad" * number)
        )
    pages = {"imports": paged(data.draw, imports), "errors": paged(data.draw, errors)}

    not_yet = iter(data.draw(st.lists(st.booleans(), max_size=10)))

    def respond(request: Request) -> Response:
        if next(not_yet, False):
            return Response(202)
        kind, _, token = request.url.removeprefix(f"{JOB_URL}/").partition("?page_token=")
        return pages[kind][token.replace("%26", "&").replace("%3D", "=") or None]

    outcomes, _, _ = serve(BACKEND.collect_job(JOB, entries), respond)

    assert outcomes == tuple(expected)


IDS = st.none() | st.sampled_from(["", "u1", "u2", "u3", "u4"])


@given(rows=st.lists(st.fixed_dictionaries({"uid": IDS, "id": IDS}), max_size=6), data=st.data())
def test_matching_by_index_changes_no_outcome(rows: list[Row], data: st.DataObject) -> None:
    """An entry with a Fullstory id too is matched the long way, as are then all others."""
    entries = [BatchEntry(user_id="u1"), BatchEntry(user_id="u2"), BatchEntry(user_id="u3")]
    errors = [
        {"user": row, "code": "bad"}
        for row in data.draw(st.lists(st.sampled_from(rows), max_size=2) if rows else st.just([]))
    ]
    extra = BatchEntry(user_id="last", vendor_id="last")

    short = collect(entries, page(*rows), page(*errors))
    long = collect([*entries, extra], page(*rows, {"uid": "last", "id": "last"}), page(*errors))

    assert short == long[:-1]


GARBAGE: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.sampled_from(["", "u1", "7", "Ann", "canary"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["id", "uid", "display_name", "properties", "user", "code", "message", "job", "status"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)
GARBAGE_REPLIES = st.one_of(
    responses(),
    st.fixed_dictionaries({"results": st.lists(GARBAGE), "next_page_token": GARBAGE}).map(json_response),
    st.builds(json_response, GARBAGE, st.sampled_from([200, 202, 400, 403, 404])),
    bodies().map(lambda body: Response(200, body=body)),
)
FAILURES = (Rejected, Misconfigured, Unavailable, Unknown)


@given(data=st.data())
def test_collect_never_raises(data: st.DataObject) -> None:
    """Any response leads to a result with one outcome per entry."""
    entries = [
        BatchEntry(user_id="u1"),
        BatchEntry(vendor_id="7"),
        ANONYMOUS,
        BatchEntry(content=content(display_name="Ann")),
    ]

    def respond(_request: Request) -> Response:
        return data.draw(GARBAGE_REPLIES)

    created, _, _ = serve(BACKEND.create_job(b'{"requests":[{"uid":"u1"}]}', idempotency_key=OPERATION), respond)
    progress, _, _ = serve(BACKEND.poll_job(JOB), respond)
    outcomes, _, _ = serve(BACKEND.collect_job(JOB, entries), respond)

    assert isinstance(created, (str, BatchTooLarge, *FAILURES))
    assert isinstance(progress, (JobProgress, *FAILURES))
    if isinstance(outcomes, tuple):
        assert len(outcomes) == len(entries)
        assert all(isinstance(outcome, (Accepted, *FAILURES)) and explain(outcome) for outcome in outcomes)
    else:
        assert isinstance(outcomes, FAILURES)


CANARIES = {
    "uid": "canary-uid-4711",
    "id": "canary-vendor-99",
    "display_name": "Canary O'Name <&>",
    "email": "canary-mail@example.com",
    "properties": {"plan": "canary-plan-größe", "deep": {"tags": ["canary-tag-1"], "n": 918273, "x": 0.0123456789}},
}
QUOTED = " | ".join(
    [
        *("canary-uid-4711", "canary-vendor-99", "Canary O'Name <&>", "CANARY-MAIL@EXAMPLE.COM", "canary-plan-größe"),
        *("canary-tag-1", "918273", "0.0123456789", KEY, "canary-plan-gr\\u00f6\\u00dfe"),
    ]
)


@given(
    user=st.sampled_from([CANARIES, {"uid": CANARIES["uid"]}, {"id": CANARIES["id"]}, {}, None, {"l": [None]}]),
    code=st.sampled_from([QUOTED, "canary-uid-4711", "bad"]),
    status=st.sampled_from([200, 202, 302, 400, 401, 403, 404, 409, 413, 429, 500, 503]),
    known=st.booleans(),
)
def test_outcomes_contain_nothing_that_was_sent(user: Any, code: str, status: int, known: bool) -> None:  # noqa: FBT001
    """Fullstory may quote values, ids and keys anywhere."""
    sent = orjson.dumps(CANARIES) if known or user is not CANARIES else None
    entry = BatchEntry(user_id="canary-uid-4711", vendor_id="canary-vendor-99", content=sent)
    row = {"code": code, "message": f"{QUOTED} | {JOB}", "user": user}
    creations = [
        BACKEND.create_job(BACKEND.batch_body([orjson.dumps(CANARIES)] * size), idempotency_key=OPERATION)
        for size in (1, 2000)
    ]
    questions: list[Exchange[Any]] = [BACKEND.poll_job(JOB), BACKEND.collect_job(JOB, [entry])]

    error = {"code": code, "message": f"{QUOTED} | {OPERATION}"}
    results: list[Any] = [serve(each, lambda _: json_response(error, status))[0] for each in creations]
    results += [serve(each, lambda _: json_response({**row, "results": [row]}, status))[0] for each in questions]
    results.append(collect([entry], NO_ROWS, page(row)))

    text = repr(results) + repr(entry)
    assert "canary" not in text.lower()
    assert not [secret for secret in ("918273", "0.0123456789", KEY, OPERATION, JOB) if secret in text]
