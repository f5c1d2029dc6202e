"""Fullstory's batch imports."""

import math
import time
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from replay_identity.emulator import (
    BatchRules,
    Fault,
    FullstoryEmulator,
    HistoryNotKeptError,
    JobFault,
    JobFaults,
    Level,
    running,
)

MountFullstory = Callable[[FullstoryEmulator], httpx.Client]
Mount = Callable[..., tuple[FullstoryEmulator, httpx.Client]]
Item = dict[str, Any]

BATCH = "/v2/users/batch"
HEADERS = {"authorization": "Basic na1.emulator"}
KEY = {"idempotency-key": "k1"}
BAD: Item = {"uid": ""}


@pytest.fixture
def mount(mount_fullstory: MountFullstory, clock: Any) -> Mount:
    """Return a function that serves a Fullstory with given batch rules and a clock that stands still."""

    def mount(**rules: Any) -> tuple[FullstoryEmulator, httpx.Client]:
        emulator = FullstoryEmulator(batch=BatchRules(**rules), clock=clock)
        return emulator, mount_fullstory(emulator)

    return mount


def users(count: int) -> list[Item]:
    """Return items with different uids."""
    return [{"uid": f"u{number}"} for number in range(count)]


def create(client: httpx.Client, items: Sequence[Item], **headers: str) -> str:
    """Post a batch and return the job's id."""
    response = client.post(BATCH, json={"requests": items}, headers=headers).raise_for_status()
    job_id: str = response.json()["job"]["id"]
    return job_id


def ask(client: httpx.Client, job_id: str, rest: str = "", **params: Any) -> httpx.Response:
    """Get the status, the imports or the errors of a job."""
    return client.get(f"{BATCH}/{quote(job_id, safe='')}{rest}", params=params)


def status(client: httpx.Client, job_id: str) -> str:
    """Return the status of a job."""
    text: str = ask(client, job_id).raise_for_status().json()["job"]["status"]
    return text


def results(client: httpx.Client, job_id: str, kind: str, **params: Any) -> list[Any]:
    """Return the first page of a job's imports or errors."""
    page: list[Any] = ask(client, job_id, kind, **params).raise_for_status().json()["results"]
    return page


def wait_for(condition: Callable[[], bool]) -> None:
    """Return once the condition holds."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def wait_for_end(client: httpx.Client, job_id: str) -> None:
    """Return once the job is COMPLETED."""
    wait_for(lambda: status(client, job_id) == "COMPLETED")


def test_batch_creates_a_job(fs: httpx.Client, clock: Any) -> None:
    """The response has the id, the status and the time of creation."""
    clock.now = 1_800_000_000.25

    response = fs.post(BATCH, json={"requests": users(1)})

    job = response.json()["job"]
    assert (response.status_code, job.keys()) == (200, {"id", "status", "created"})
    assert (job["status"], job["created"]) == ("PROCESSING", "2027-01-15T08:00:00.25Z")


def test_job_upserts_users(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """Existing users are updated, others are created."""
    known = fs.post("/v2/users", json={"uid": "u1", "properties": {"a": 1, "b": 1}}).json()["id"]

    create(fs, [{"uid": "u1", "properties": {"b": 2}}, {"uid": "u2", "email": "a@example.com"}])

    assert fullstory.users[known].properties == {"a": 1.0, "b": 2.0}
    assert [user.email for user in fullstory.users.values()] == [None, "a@example.com"]


def test_items_are_applied_in_order(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """The last item about a user wins."""
    create(fs, [{"uid": "u1", "display_name": name} for name in ("a", "b", "c")])

    user = fullstory.by_uid("u1")

    assert user is not None
    assert user.display_name == "c"


def test_item_without_uid_creates_an_anonymous_user(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """Every such item creates a new user."""
    create(fs, [{}, {}])

    assert [user.uid for user in fullstory.users.values()] == [None, None]


def test_item_can_have_a_fullstory_id(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """It updates that user, and can identify an anonymous one."""
    user_id = fs.post("/v2/users", json={}).json()["id"]

    job_id = create(fs, [{"id": user_id, "uid": "u1"}])

    assert list(fullstory.users) == [user_id]
    assert fullstory.by_uid("u1") is not None
    assert results(fs, job_id, "/imports")[0]["id"] == user_id


@pytest.mark.parametrize(
    ("item", "code"),
    [
        (BAD, "invalid_parameter"),
        ({"uid": 1}, "invalid_parameter"),
        ({"uid": "u" * 257}, "invalid_parameter"),
        ({"properties": {"a-b": 1}}, "invalid_parameter"),
        ({"displayName": "A"}, "invalid_parameter"),
        ({"id": 1}, "invalid_parameter"),
        ({"id": ""}, "invalid_parameter"),
        ({"id": "1"}, "user_not_found"),
    ],
)
def test_bad_item_does_not_fail_the_others(
    fs: httpx.Client, fullstory: FullstoryEmulator, item: Item, code: str
) -> None:
    """It is listed as sent, with a message and a code."""
    job_id = create(fs, [{"uid": "u1"}, item, {"uid": "u2"}])

    (error,) = results(fs, job_id, "/errors")

    assert error.keys() == {"message", "code", "user"}
    assert (error["code"], error["user"]) == (code, item)
    assert [user.uid for user in fullstory.users.values()] == ["u1", "u2"]


def test_empty_uid_has_the_documented_message(fs: httpx.Client) -> None:
    """It is the one documented example of an item's error."""
    job_id = create(fs, [BAD])

    assert results(fs, job_id, "/errors") == [
        {"message": "The provided uid parameter can not be empty", "code": "invalid_parameter", "user": BAD}
    ]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "invalid_argument"),
        (b"[]", "invalid_argument"),
        (b"{}", "required_field"),
        (b'{"requests": {}}', "invalid_argument"),
        (b'{"requests": []}', "invalid_argument"),
        (b'{"requests": [{"uid": "u1"}, 1]}', "invalid_argument"),
        (b'{"requests": [{"uid": "u1"}], "users": []}', "invalid_argument"),
        (b'{"requests": [' + b",".join([b"{}"] * 50_001) + b"]}", "invalid_argument"),
        (b'{"requests": [{"properties":' + b'{"a":' * 300 + b"1" + b"}" * 300 + b"}]}", "invalid_argument"),
    ],
    ids=["none", "list", "empty", "object", "no-items", "no-object", "more", "many", "deep"],
)
def test_malformed_batch_is_rejected(fs: httpx.Client, fullstory: FullstoryEmulator, body: bytes, code: str) -> None:
    """No job is created, and nothing is applied."""
    response = fs.post(BATCH, content=body)

    assert (response.status_code, response.json()["code"]) == (400, code)
    assert (fullstory.jobs, fullstory.users) == ((), {})


def test_default_limits_are_the_published_ones() -> None:
    """No limit in bytes is published."""
    rules = BatchRules()

    assert (rules.max_items, rules.max_running, rules.max_jobs) == (50_000, 100, 200)
    assert (rules.max_operations, rules.max_bytes) == (500_000, None)


@pytest.mark.parametrize(("count", "expected"), [(2, 200), (3, 400)])
def test_items_can_be_limited(mount: Mount, count: int, expected: int) -> None:
    """One item too many is rejected."""
    _, fs = mount(max_items=2)

    assert fs.post(BATCH, json={"requests": users(count)}).status_code == expected


@pytest.mark.parametrize(("size", "expected"), [(100, 200), (101, 413)])
def test_bytes_can_be_limited(mount: Mount, size: int, expected: int) -> None:
    """An undocumented limit can be emulated."""
    _, fs = mount(max_bytes=100)

    assert fs.post(BATCH, content=b'{"requests": [{}]}'.ljust(size)).status_code == expected


def test_large_batch_is_applied(mount: Mount) -> None:
    """Other requests are served meanwhile."""
    emulator, fs = mount()
    items = [{"uid": f"u{number}", "properties": {"text": "x" * 400}} for number in range(3000)]

    job_id = create(fs, items)
    wait_for_end(fs, job_id)

    assert emulator.total_applied == len(emulator.users) == 3000


def test_large_batches_are_applied_in_turn(mount: Mount) -> None:
    """The runner restarts after it was idle."""
    emulator, fs = mount()
    for _ in range(2):
        job_id = create(fs, users(1000))
        wait_for_end(fs, job_id)

    assert set(emulator.applied.values()) == {2}


def test_job_id_must_be_percent_encoded(fs: httpx.Client) -> None:
    """It contains a slash, a plus sign and an equals sign."""
    job_id = create(fs, users(1))

    assert {"/", "+", "="} <= set(job_id)
    assert (fs.get(f"{BATCH}/{job_id}").status_code, ask(fs, job_id).status_code) == (404, 200)


def test_same_batch_is_another_job(fs: httpx.Client) -> None:
    """Each job has its own id."""
    assert create(fs, users(1)) != create(fs, users(1))


@pytest.mark.parametrize("rest", ["", "/imports", "/errors"])
def test_unknown_job_is_not_found(fs: httpx.Client, rest: str) -> None:
    """The body is that of any unknown resource."""
    response = ask(fs, "abd123=", rest)

    assert (response.status_code, response.json()["code"]) == (404, "resource_not_found")


def test_beta_path_works_for_batches(fs: httpx.Client) -> None:
    """Every path is also available under v2beta."""
    job = fs.post("/v2beta/users/batch", json={"requests": users(1)}).json()["job"]

    assert fs.get(f"/v2beta/users/batch/{quote(job['id'], safe='')}/imports").status_code == 200


def test_results_need_an_architect_key(mount_fullstory: MountFullstory) -> None:
    """A standard key can create a job and read its status."""
    fs = mount_fullstory(FullstoryEmulator(api_keys={"na1.emulator": Level.STANDARD}))
    job_id = create(fs, users(1))

    assert [ask(fs, job_id, rest).status_code for rest in ("", "/imports", "/errors")] == [200, 403, 403]


# Status


def test_finished_job_has_its_times(mount: Mount, clock: Any) -> None:
    """Times are in UTC and have at most milliseconds."""
    _, fs = mount(job_seconds=10)
    job_id = create(fs, users(2))
    clock.now += 10.125

    body = ask(fs, job_id).json()

    assert body == {
        "imports": 2,
        "job": {
            "id": job_id,
            "status": "COMPLETED",
            "created": "2027-01-15T08:00:00Z",
            "finished": "2027-01-15T08:00:10.125Z",
        },
    }


@pytest.mark.parametrize(
    ("final_status", "bad", "expected"),
    [
        ("spec", 0, "COMPLETED"),
        ("spec", 1, "FAILED"),
        ("lenient", 0, "COMPLETED"),
        ("lenient", 1, "COMPLETED"),
        ("always-failed", 0, "FAILED"),
        ("always-failed", 1, "FAILED"),
    ],
)
def test_final_status_can_be_chosen(mount: Mount, final_status: str, bad: int, expected: str) -> None:
    """The documents contradict each other; the counts are always the same."""
    _, fs = mount(final_status=final_status, shows_zero_errors=True)
    job_id = create(fs, [*users(2), *[BAD] * bad])

    body = ask(fs, job_id).json()

    assert (body["job"]["status"], body["imports"], body["errors"]) == (expected, 2, bad)


def test_status_without_errors_omits_them(fs: httpx.Client) -> None:
    """They are only included for failed imports."""
    assert "errors" not in ask(fs, create(fs, users(1))).json()


def test_job_runs_for_its_seconds(mount: Mount, clock: Any) -> None:
    """Nothing is applied before."""
    emulator, fs = mount(job_seconds=10)
    job_id = create(fs, users(2))
    clock.now += 9.9

    early, known = ask(fs, job_id).json(), len(emulator.users)
    clock.now += 0.1

    assert (early["job"]["status"], early["imports"], "finished" in early["job"], known) == ("PROCESSING", 0, False, 0)
    assert (status(fs, job_id), len(emulator.users)) == ("COMPLETED", 2)


def test_job_runs_for_its_polls(mount: Mount) -> None:
    """Time does not count, nor do requests for results."""
    emulator, fs = mount(job_polls=2)
    job_id = create(fs, users(1))
    ask(fs, job_id, "/imports")

    seen = [status(fs, job_id) for _ in range(3)]

    assert seen == ["PROCESSING", "PROCESSING", "COMPLETED"]
    assert emulator.jobs[0].polls == 3


@pytest.mark.parametrize("rest", ["/imports", "/errors"])
def test_results_are_202_while_the_job_runs(mount: Mount, rest: str) -> None:
    """The 202 looks like a page without results."""
    _, fs = mount(job_seconds=10)
    response = ask(fs, create(fs, users(1)), rest)

    assert (response.status_code, response.json()) == (202, {"results": [], "total_records": "0"})


def test_job_ends_without_polls(mount_fullstory: MountFullstory) -> None:
    """An earlier, longer job does not delay it."""
    emulator = FullstoryEmulator(batch=BatchRules(job_seconds=0.05))
    fs = mount_fullstory(emulator)
    emulator.job_faults.add(JobFault(seconds=600))
    create(fs, [{"uid": "late"}])

    create(fs, [{"uid": "soon"}])
    wait_for(lambda: bool(emulator.users))

    assert [user.uid for user in emulator.users.values()] == ["soon"]


def test_job_continues_under_another_server(clock: Any) -> None:
    """A job outlives the server that accepted it."""
    emulator = FullstoryEmulator(batch=BatchRules(job_seconds=10), clock=clock)
    with running(emulator) as server, httpx.Client(base_url=server.url, headers=HEADERS) as fs:
        job_id = create(fs, users(1000))
    clock.now += 10

    with running(emulator) as server, httpx.Client(base_url=server.url, headers=HEADERS) as fs:
        wait_for_end(fs, job_id)

    assert set(emulator.applied.values()) == {1}
    assert emulator.total_applied == 1000


def test_reset_stops_running_jobs(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """An old job does not write to a reset emulator."""
    job_id = create(fs, users(20_000))

    fullstory.reset()

    assert ask(fs, job_id).status_code == 404
    assert (fullstory.jobs, fullstory.users, fullstory.applied, fullstory.total_applied) == ((), {}, {}, 0)


def test_results_expire(mount: Mount, clock: Any) -> None:
    """The job is unknown afterwards."""
    _, fs = mount(result_seconds=60)
    job_id = create(fs, users(1))
    clock.now += 59.9
    before = ask(fs, job_id, "/imports").status_code
    clock.now += 0.1

    assert (before, ask(fs, job_id, "/imports").status_code, ask(fs, job_id).status_code) == (200, 404, 404)


# Results


def test_import_has_the_fields_of_the_user(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """It has no link and no deletion state, unlike a single user."""
    job_id = create(fs, [{"uid": "u1", "display_name": "A", "email": "a@example.com", "properties": {"a": 1}}])

    assert results(fs, job_id, "/imports") == [
        {
            "id": next(iter(fullstory.users)),
            "uid": "u1",
            "display_name": "A",
            "email": "a@example.com",
            "properties": {"a": 1.0},
            "schema": None,
            "type_conflicts": None,
        }
    ]


def test_anonymous_import_omits_the_uid(fs: httpx.Client) -> None:
    """Missing fields are omitted rather than null."""
    (imported,) = results(fs, create(fs, [{}]), "/imports")

    assert imported.keys() == {"id", "properties", "schema", "type_conflicts"}


def test_imports_can_include_schemas(fs: httpx.Client) -> None:
    """The parameter is that of a single user."""
    job_id = create(fs, [{"uid": "u1", "properties": {"a": 1}}])

    (imported,) = results(fs, job_id, "/imports", include_schema="true")

    assert imported["schema"] == {"properties": {"a": "real"}}


def test_imports_can_be_ids_only(mount: Mount) -> None:
    """The schema requires nothing else."""
    _, fs = mount(shows_details=False)

    (imported,) = results(fs, create(fs, users(1)), "/imports")

    assert imported.keys() == {"id"}


def test_deleted_import_is_an_id_only(mount: Mount, clock: Any) -> None:
    """The import took place all the same."""
    _, fs = mount()
    job_id = create(fs, users(1))
    fs.delete("/v2/users", params={"uid": "u0"})
    clock.now += 60

    (imported,) = results(fs, job_id, "/imports")

    assert imported.keys() == {"id"}


@pytest.mark.parametrize(("kind", "bad"), [("/imports", 0), ("/errors", 5)])
def test_pages_have_every_result_once(mount: Mount, kind: str, bad: int) -> None:
    """Each page has the total as a string."""
    _, fs = mount(page_size=2)
    items = [{"uid": "" if bad else f"u{number}", "email": f"{number}"} for number in range(5)]
    job_id = create(fs, items)

    seen: list[str] = []
    totals: list[str] = []
    token: dict[str, str] = {}
    while True:
        page = ask(fs, job_id, kind, **token).json()
        seen += [result.get("user", result)["email"] for result in page["results"]]
        totals.append(page["total_records"])
        if not page.get("next_page_token"):
            break
        token = {"page_token": page["next_page_token"]}

    assert (seen, totals) == (["0", "1", "2", "3", "4"], ["5", "5", "5"])


def test_full_last_page_has_no_token(mount: Mount) -> None:
    """No token leads to an empty page."""
    _, fs = mount(page_size=2, last_page="null")

    assert ask(fs, create(fs, users(2)), "/imports").json()["next_page_token"] is None


@pytest.mark.parametrize(
    ("last_page", "ends"),
    [
        ("null", [None, None, None]),
        ("empty", ["", "", ""]),
        ("absent", ["-", "-", "-"]),
        ("vary", [None, "", "-"]),
    ],
)
def test_last_page_token_can_be_chosen(mount: Mount, last_page: str, ends: list[str | None]) -> None:
    """All forms were seen or documented; by default they take turns."""
    _, fs = mount(last_page=last_page)
    job_id = create(fs, users(1))

    assert [ask(fs, job_id, "/errors").json().get("next_page_token", "-") for _ in range(3)] == ends


def test_token_can_be_reused(mount: Mount) -> None:
    """A retry reads the same results, even after later pages."""
    _, fs = mount(page_size=2)
    job_id = create(fs, users(6))
    token = ask(fs, job_id, "/imports").json()["next_page_token"]
    page = ask(fs, job_id, "/imports", page_token=token).json()

    again = ask(fs, job_id, "/imports", page_token=token).json()

    assert [user["uid"] for user in again["results"]] == ["u2", "u3"]
    assert again == page


def test_token_belongs_to_its_job_and_list(mount: Mount) -> None:
    """Other jobs and lists reject it."""
    _, fs = mount(page_size=1)
    first, second = create(fs, users(2)), create(fs, users(2))
    token = ask(fs, first, "/imports").json()["next_page_token"]

    lists = ((first, "/imports"), (second, "/imports"), (first, "/errors"))

    responses = [ask(fs, job_id, kind, page_token=token).status_code for job_id, kind in lists]

    assert responses == [200, 400, 400]


@pytest.mark.parametrize(
    ("rest", "params"),
    [
        ("/imports", {"page_token": "made-up"}),
        ("/imports", {"page_token": ""}),
        ("/imports", {"include_schema": "1"}),
        ("/imports", {"limit": "10"}),
        ("/errors", {"include_schema": "true"}),
    ],
)
def test_unknown_parameter_is_rejected(fs: httpx.Client, rest: str, params: dict[str, str]) -> None:
    """The list of errors has no schema."""
    assert ask(fs, create(fs, users(1)), rest, **params).status_code == 400


# Quotas


def test_jobs_over_the_maximum_wait(mount: Mount, clock: Any) -> None:
    """They are accepted, and start when others complete."""
    _, fs = mount(max_running=2, job_seconds=10)
    jobs = [create(fs, users(1)) for _ in range(3)]
    clock.now += 10
    first = [status(fs, job_id) for job_id in jobs]
    clock.now += 10

    assert first == ["COMPLETED", "COMPLETED", "PROCESSING"]
    assert status(fs, jobs[2]) == "COMPLETED"


@pytest.mark.parametrize("rules", [{"max_jobs": 2}, {"max_operations": 4}])
def test_too_many_jobs_in_progress_get_a_429(mount: Mount, clock: Any, rules: dict[str, int]) -> None:
    """It has Retry-After, and lasts until a job completes."""
    emulator, fs = mount(job_seconds=30, **rules)
    for _ in range(2):
        create(fs, users(3))
    clock.now += 10.5

    refused = fs.post(BATCH, json={"requests": users(1)})
    clock.now += int(refused.headers["retry-after"])
    accepted = fs.post(BATCH, json={"requests": users(1)})

    assert (refused.status_code, refused.headers["retry-after"]) == (429, "20")
    assert refused.json()["code"] == "too_many_requests"
    assert (accepted.status_code, len(emulator.jobs)) == (200, 3)


@pytest.mark.parametrize(("seconds", "retry_after"), [(math.inf, "60"), (0, "1")])
def test_retry_after_has_a_minimum_and_a_maximum(mount: Mount, seconds: float, retry_after: str) -> None:
    """This holds for jobs that never end or end with a poll."""
    _, fs = mount(max_jobs=1, job_seconds=seconds, job_polls=1)
    create(fs, users(1))

    assert fs.post(BATCH, json={"requests": users(1)}).headers["retry-after"] == retry_after


def test_batches_can_be_turned_off(mount: Mount) -> None:
    """Without jobs, Retry-After has its maximum."""
    _, fs = mount(max_jobs=0)

    response = fs.post(BATCH, json={"requests": users(1)})

    assert (response.status_code, response.headers["retry-after"]) == (429, "60")


def test_rejected_batch_can_reuse_its_key(mount: Mount, clock: Any) -> None:
    """A 429 is not stored under the key."""
    emulator, fs = mount(max_jobs=1, job_seconds=10)
    create(fs, users(1))

    refused = fs.post(BATCH, json={"requests": users(2)}, headers=KEY)
    clock.now += 10
    accepted = fs.post(BATCH, json={"requests": users(2)}, headers=KEY)

    assert (refused.status_code, accepted.status_code) == (429, 200)
    assert [job.items for job in emulator.jobs] == [1, 2]


# Idempotency and counts


def test_repeated_key_creates_no_second_job(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """The first response is replayed, and no user is written twice."""
    first = create(fs, [{"uid": "u1"}, {}], **KEY)
    second = create(fs, [{"uid": "u1"}, {}], **KEY)

    assert first == second
    assert sorted(fullstory.applied.values()) == [1, 1]


def test_repeated_batch_without_key_is_applied_again(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """The counts show both writes."""
    for _ in range(2):
        create(fs, [{"uid": "u1"}, BAD])

    assert (fullstory.applied, fullstory.total_applied) == ({"u1": 2}, 2)
    assert [(job.items, job.imports, job.errors, job.status) for job in fullstory.jobs] == [(2, 1, 1, "FAILED")] * 2


def test_single_writes_are_counted(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """Users count by uid or else by Fullstory id; rejected writes do not count."""
    user_id = fs.post("/v2/users", json={}).json()["id"]
    fs.post("/v2/users", json={"uid": "u1"})
    fs.post(f"/v2/users/{user_id}", json={"uid": "u2"})
    fs.post("/v2/users", json=BAD)

    assert fullstory.applied == {user_id: 1, "u1": 1, "u2": 1}


def test_history_has_the_writes_in_order(mount_fullstory: MountFullstory) -> None:
    """It covers batches and single requests."""
    emulator = FullstoryEmulator(keeps_history=True)
    fs = mount_fullstory(emulator)
    create(fs, [{"uid": "u1", "email": "a"}, {"uid": "u2"}, {"uid": "u1", "email": "b"}])
    fs.post("/v2/users", json={"uid": "u1", "email": "c"})

    assert emulator.history("u1") == tuple({"uid": "u1", "email": text} for text in "abc")
    assert emulator.history("nobody") == ()


def test_reset_deletes_the_history(mount_fullstory: MountFullstory) -> None:
    """Nothing of it remains."""
    emulator = FullstoryEmulator(keeps_history=True)
    create(mount_fullstory(emulator), users(1))

    emulator.reset()

    assert emulator.history("u0") == ()


def test_history_needs_keeps_history(fullstory: FullstoryEmulator) -> None:
    """Without the option, reading it is an error."""
    with pytest.raises(HistoryNotKeptError, match="keeps_history=True"):
        fullstory.history("u1")


def test_jobs_and_counts_have_pages(fs: httpx.Client) -> None:
    """They are GET /_emulator/jobs and GET /_emulator/applied."""
    job_id = create(fs, [*users(1), BAD])

    job = {"id": job_id, "status": "FAILED", "items": 2, "imports": 1, "errors": 1, "polls": 0}
    assert fs.get("/_emulator/jobs").json() == {"jobs": [job]}
    assert fs.get("/_emulator/applied").json() == {"total": 1, "users": {"u0": 1}}


# Faults


@pytest.mark.parametrize(("drop", "jobs"), [("before", 0), ("after", 2)])
def test_responses_to_creates_can_be_lost(fs: httpx.Client, fullstory: FullstoryEmulator, drop: Any, jobs: int) -> None:
    """A job is created or not, depending on the drop."""
    fullstory.faults.add(Fault(drop=drop, route=BATCH, method="POST", times=2))
    for _ in range(2):
        with pytest.raises(httpx.TransportError):
            create(fs, users(1))

    assert (len(fullstory.jobs), fullstory.total_applied) == (jobs, jobs)
    assert status(fs, create(fs, users(1))) == "COMPLETED"


def test_lost_response_is_replayed_for_its_key(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """The client finds the job after all."""
    fullstory.faults.add(Fault(drop="after"))
    with pytest.raises(httpx.TransportError):
        create(fs, users(1), **KEY)

    job_id = create(fs, users(1), **KEY)

    assert [job.id for job in fullstory.jobs] == [job_id]
    assert fullstory.applied == {"u0": 1}


def test_status_fault_creates_no_job(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """An injected status rejects the batch."""
    fullstory.faults.add(Fault(status=503, route=BATCH))

    assert fs.post(BATCH, json={"requests": users(1)}).status_code == 503
    assert fullstory.jobs == ()


def test_fault_can_hit_pages_of_errors_only(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """A route matches the pages of any job."""
    fullstory.faults.add(Fault(garbage="broken", route=f"{BATCH}/*/errors"))
    job_id = create(fs, users(1))

    whole = ask(fs, job_id, "/imports").content
    broken = ask(fs, job_id, "/errors").content

    assert whole.endswith(b"}")
    assert not broken.endswith(b"}")


@pytest.mark.parametrize(("listed", "errors"), [(False, 0), (True, 3)])
def test_job_can_fail_entirely(fs: httpx.Client, fullstory: FullstoryEmulator, errors: int, *, listed: bool) -> None:
    """Nothing is applied, and the items are listed as errors or are missing."""
    fullstory.job_faults.add(JobFault(max_applied=0, lists_unapplied=listed))

    job_id = create(fs, users(3))

    body = ask(fs, job_id).json()
    assert (body["job"]["status"], body["imports"], body.get("errors", 0)) == ("FAILED", 0, errors)
    assert [error["code"] for error in results(fs, job_id, "/errors")] == ["server_error"] * errors
    assert not fullstory.users


def test_job_can_fail_halfway(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """The first items are applied, the others are missing."""
    fullstory.job_faults.add(JobFault(max_applied=2))

    job_id = create(fs, users(3))

    assert (status(fs, job_id), list(fullstory.applied)) == ("FAILED", ["u0", "u1"])
    assert [len(results(fs, job_id, kind)) for kind in ("/imports", "/errors")] == [2, 0]


def test_max_applied_can_exceed_the_job(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """The job is FAILED although all items were applied."""
    fullstory.job_faults.add(JobFault(max_applied=9))

    assert (status(fs, create(fs, users(3))), fullstory.total_applied) == ("FAILED", 3)


@pytest.mark.parametrize(("polls", "statuses"), [(1, ["UNKNOWN", "COMPLETED"]), (None, ["UNKNOWN", "UNKNOWN"])])
def test_poll_can_report_another_status(
    fs: httpx.Client, fullstory: FullstoryEmulator, polls: int | None, statuses: list[str]
) -> None:
    """The job itself is not affected."""
    fullstory.job_faults.add(JobFault(reported_status="UNKNOWN", reported_polls=polls))

    job_id = create(fs, users(1))

    assert [status(fs, job_id) for _ in range(2)] == statuses
    assert len(results(fs, job_id, "/imports")) == 1


def test_job_can_be_hidden(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """It runs, but requests about it get a 404."""
    fullstory.job_faults.add(JobFault(hidden=True))

    job_id = create(fs, users(1))

    assert ask(fs, job_id).status_code == 404
    assert fullstory.applied == {"u0": 1}


def test_job_can_outlast_a_later_one(mount: Mount, clock: Any) -> None:
    """Then the older values are applied last."""
    emulator, fs = mount(job_seconds=10)
    emulator.job_faults.add(JobFault(seconds=20))
    create(fs, [{"uid": "u1", "email": "older"}])
    create(fs, [{"uid": "u1", "email": "newer"}])
    clock.now += 20

    fs.get("/me")
    user = emulator.by_uid("u1")

    assert user is not None
    assert user.email == "older"


def test_job_faults_happen_in_order(mount: Mount) -> None:
    """Each hits its number of jobs; a fault without fields changes nothing."""
    emulator, fs = mount()
    emulator.job_faults.add(JobFault())
    emulator.job_faults.add(JobFault(max_applied=0), times=2)

    assert [status(fs, create(fs, users(1))) for _ in range(4)] == ["COMPLETED", "FAILED", "FAILED", "COMPLETED"]


def test_reset_removes_job_faults(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """Queued faults do not happen."""
    fullstory.job_faults.add(JobFault(max_applied=0))

    fullstory.reset()

    assert status(fs, create(fs, users(1))) == "COMPLETED"


def test_clear_removes_job_faults() -> None:
    """Queued faults do not happen."""
    faults = JobFaults()
    faults.add(JobFault(max_applied=0))

    faults.clear()

    assert faults.take() == JobFault()


@pytest.mark.parametrize(
    ("make", "fields"),
    [
        (JobFault, {"seconds": -1}),
        (JobFault, {"max_applied": -1}),
        (JobFault, {"max_applied": 0.5}),
        (JobFault, {"reported_polls": -1}),
        (BatchRules, {"final_status": "strict"}),
        (BatchRules, {"last_page": "zero"}),
        (BatchRules, {"page_size": 0}),
        (BatchRules, {"max_running": 0}),
    ],
)
def test_invalid_rules_are_rejected(make: Callable[..., object], fields: dict[str, Any]) -> None:
    """Invalid values raise at construction."""
    with pytest.raises(ValueError, match=next(iter(fields))):
        make(**fields)
