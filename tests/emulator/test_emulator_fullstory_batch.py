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
    """Give a function that serves a Fullstory with some batch rules, by a clock that stands still."""

    def mount(**rules: Any) -> tuple[FullstoryEmulator, httpx.Client]:
        emulator = FullstoryEmulator(batch=BatchRules(**rules), clock=clock)
        return emulator, mount_fullstory(emulator)

    return mount


def users(count: int) -> list[Item]:
    """Return items that differ in their uid."""
    return [{"uid": f"u{number}"} for number in range(count)]


def create(client: httpx.Client, items: Sequence[Item], **headers: str) -> str:
    """Post a batch and return the job's id."""
    response = client.post(BATCH, json={"requests": items}, headers=headers).raise_for_status()
    job_id: str = response.json()["job"]["id"]
    return job_id


def ask(client: httpx.Client, job_id: str, rest: str = "", **params: Any) -> httpx.Response:
    """Get the status of a job, or its imports or errors."""
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
    """Return when the condition holds."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def wait_for_end(client: httpx.Client, job_id: str) -> None:
    """Return when the job is COMPLETED."""
    wait_for(lambda: status(client, job_id) == "COMPLETED")


def test_a_batch_is_accepted_as_a_job(fs: httpx.Client, clock: Any) -> None:
    """The answer names the job, which is processing, and says when it was created."""
    clock.now = 1_800_000_000.25

    response = fs.post(BATCH, json={"requests": users(1)})

    job = response.json()["job"]
    assert (response.status_code, job.keys()) == (200, {"id", "status", "created"})
    assert (job["status"], job["created"]) == ("PROCESSING", "2027-01-15T08:00:00.25Z")


def test_a_job_upserts_each_user(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """Those who are known are updated, and the others are created."""
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


def test_an_item_without_a_uid_makes_an_anonymous_user(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """A new one each time."""
    create(fs, [{}, {}])

    assert [user.uid for user in fullstory.users.values()] == [None, None]


def test_an_item_may_name_a_fullstory_id(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """It updates that user, and may identify an anonymous one."""
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
def test_an_item_that_is_wrong_fails_alone(
    fs: httpx.Client, fullstory: FullstoryEmulator, item: Item, code: str
) -> None:
    """It is listed as it was sent, with a message and a code, and the others are imported."""
    job_id = create(fs, [{"uid": "u1"}, item, {"uid": "u2"}])

    (error,) = results(fs, job_id, "/errors")

    assert error.keys() == {"message", "code", "user"}
    assert (error["code"], error["user"]) == (code, item)
    assert [user.uid for user in fullstory.users.values()] == ["u1", "u2"]


def test_an_empty_uid_has_the_documented_words(fs: httpx.Client) -> None:
    """They are the one example of an item's error."""
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
def test_a_malformed_batch_fails_as_a_whole(
    fs: httpx.Client, fullstory: FullstoryEmulator, body: bytes, code: str
) -> None:
    """There is no job, and nothing is applied."""
    response = fs.post(BATCH, content=body)

    assert (response.status_code, response.json()["code"]) == (400, code)
    assert (fullstory.jobs, fullstory.users) == ((), {})


def test_the_limits_are_the_published_ones() -> None:
    """Nobody has published a limit in bytes."""
    rules = BatchRules()

    assert (rules.max_items, rules.max_running, rules.max_jobs) == (50_000, 100, 200)
    assert (rules.max_operations, rules.max_bytes) == (500_000, None)


@pytest.mark.parametrize(("count", "expected"), [(2, 200), (3, 400)])
def test_the_number_of_items_can_be_limited(mount: Mount, count: int, expected: int) -> None:
    """One item too many is too many."""
    _, fs = mount(max_items=2)

    assert fs.post(BATCH, json={"requests": users(count)}).status_code == expected


@pytest.mark.parametrize(("size", "expected"), [(100, 200), (101, 413)])
def test_the_number_of_bytes_can_be_limited(mount: Mount, size: int, expected: int) -> None:
    """A limit that is not documented may be there all the same."""
    _, fs = mount(max_bytes=100)

    assert fs.post(BATCH, content=b'{"requests": [{}]}'.ljust(size)).status_code == expected


def test_a_large_batch_is_taken(mount: Mount) -> None:
    """It is applied to its end while other requests are served."""
    emulator, fs = mount()
    items = [{"uid": f"u{number}", "properties": {"text": "x" * 400}} for number in range(3000)]

    job_id = create(fs, items)
    wait_for_end(fs, job_id)

    assert emulator.total_applied == len(emulator.users) == 3000


def test_large_batches_are_taken_one_after_the_other(mount: Mount) -> None:
    """The work begins anew after it was all done."""
    emulator, fs = mount()
    for _ in range(2):
        job_id = create(fs, users(1000))
        wait_for_end(fs, job_id)

    assert set(emulator.applied.values()) == {2}


def test_a_job_id_must_be_percent_encoded(fs: httpx.Client) -> None:
    """It holds a slash, a plus sign and an equals sign."""
    job_id = create(fs, users(1))

    assert {"/", "+", "="} <= set(job_id)
    assert (fs.get(f"{BATCH}/{job_id}").status_code, ask(fs, job_id).status_code) == (404, 200)


def test_jobs_have_ids_of_their_own(fs: httpx.Client) -> None:
    """The same batch is another job."""
    assert create(fs, users(1)) != create(fs, users(1))


@pytest.mark.parametrize("rest", ["", "/imports", "/errors"])
def test_an_unknown_job_is_not_found(fs: httpx.Client, rest: str) -> None:
    """In the words of any unknown resource."""
    response = ask(fs, "abd123=", rest)

    assert (response.status_code, response.json()["code"]) == (404, "resource_not_found")


def test_the_older_path_leads_to_batches_as_well(fs: httpx.Client) -> None:
    """Each path is also known as v2beta."""
    job = fs.post("/v2beta/users/batch", json={"requests": users(1)}).json()["job"]

    assert fs.get(f"/v2beta/users/batch/{quote(job['id'], safe='')}/imports").status_code == 200


def test_results_need_a_higher_level(mount_fullstory: MountFullstory) -> None:
    """A standard key may create a job and ask for its status."""
    fs = mount_fullstory(FullstoryEmulator(api_keys={"na1.emulator": Level.STANDARD}))
    job_id = create(fs, users(1))

    assert [ask(fs, job_id, rest).status_code for rest in ("", "/imports", "/errors")] == [200, 403, 403]


# Status


def test_a_finished_job_says_when(mount: Mount, clock: Any) -> None:
    """A status has counts and the job; times are in UTC and have at most milliseconds."""
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
def test_the_final_status_is_a_matter_of_policy(mount: Mount, final_status: str, bad: int, expected: str) -> None:
    """The documents contradict each other; the counts are the same under each reading."""
    _, fs = mount(final_status=final_status, shows_zero_errors=True)
    job_id = create(fs, [*users(2), *[BAD] * bad])

    body = ask(fs, job_id).json()

    assert (body["job"]["status"], body["imports"], body["errors"]) == (expected, 2, bad)


def test_a_job_without_errors_says_nothing_about_them(fs: httpx.Client) -> None:
    """They are only included for failed imports."""
    assert "errors" not in ask(fs, create(fs, users(1))).json()


def test_a_job_runs_for_some_time(mount: Mount, clock: Any) -> None:
    """Nothing is applied before it is over."""
    emulator, fs = mount(job_seconds=10)
    job_id = create(fs, users(2))
    clock.now += 9.9

    early, known = ask(fs, job_id).json(), len(emulator.users)
    clock.now += 0.1

    assert (early["job"]["status"], early["imports"], "finished" in early["job"], known) == ("PROCESSING", 0, False, 0)
    assert (status(fs, job_id), len(emulator.users)) == ("COMPLETED", 2)


def test_a_job_may_run_for_some_polls(mount: Mount) -> None:
    """Time plays no part, and asking for results is no poll."""
    emulator, fs = mount(job_polls=2)
    job_id = create(fs, users(1))
    ask(fs, job_id, "/imports")

    seen = [status(fs, job_id) for _ in range(3)]

    assert seen == ["PROCESSING", "PROCESSING", "COMPLETED"]
    assert emulator.jobs[0].polls == 3


@pytest.mark.parametrize("rest", ["/imports", "/errors"])
def test_results_are_not_ready_while_a_job_runs(mount: Mount, rest: str) -> None:
    """The 202 looks like a page without results."""
    _, fs = mount(job_seconds=10)
    response = ask(fs, create(fs, users(1)), rest)

    assert (response.status_code, response.json()) == (202, {"results": [], "total_records": "0"})


def test_a_job_ends_though_nobody_asks(mount_fullstory: MountFullstory) -> None:
    """Also where an earlier job will go on for long."""
    emulator = FullstoryEmulator(batch=BatchRules(job_seconds=0.05))
    fs = mount_fullstory(emulator)
    emulator.job_faults.add(JobFault(seconds=600))
    create(fs, [{"uid": "late"}])

    create(fs, [{"uid": "soon"}])
    wait_for(lambda: bool(emulator.users))

    assert [user.uid for user in emulator.users.values()] == ["soon"]


def test_another_server_goes_on_where_one_stopped(clock: Any) -> None:
    """A job outlives the server that took it."""
    emulator = FullstoryEmulator(batch=BatchRules(job_seconds=10), clock=clock)
    with running(emulator) as server, httpx.Client(base_url=server.url, headers=HEADERS) as fs:
        job_id = create(fs, users(1000))
    clock.now += 10

    with running(emulator) as server, httpx.Client(base_url=server.url, headers=HEADERS) as fs:
        wait_for_end(fs, job_id)

    assert set(emulator.applied.values()) == {1}
    assert emulator.total_applied == 1000


def test_a_reset_ends_what_is_under_way(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """A new emulator is not written to by an old job."""
    job_id = create(fs, users(20_000))

    fullstory.reset()

    assert ask(fs, job_id).status_code == 404
    assert (fullstory.jobs, fullstory.users, fullstory.applied, fullstory.total_applied) == ((), {}, {}, 0)


def test_results_may_be_gone_after_some_time(mount: Mount, clock: Any) -> None:
    """The job is unknown from then on."""
    _, fs = mount(result_seconds=60)
    job_id = create(fs, users(1))
    clock.now += 59.9
    before = ask(fs, job_id, "/imports").status_code
    clock.now += 0.1

    assert (before, ask(fs, job_id, "/imports").status_code, ask(fs, job_id).status_code) == (200, 404, 404)


# Results


def test_an_imported_user_is_shown_with_what_is_known(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """Neither the link nor the deletion of a single user is."""
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


def test_an_anonymous_user_shows_no_uid(fs: httpx.Client) -> None:
    """What is not there is left out, and not null."""
    (shown,) = results(fs, create(fs, [{}]), "/imports")

    assert shown.keys() == {"id", "properties", "schema", "type_conflicts"}


def test_imports_come_with_their_schema_when_asked(fs: httpx.Client) -> None:
    """The parameter is that of a single user."""
    job_id = create(fs, [{"uid": "u1", "properties": {"a": 1}}])

    (shown,) = results(fs, job_id, "/imports", include_schema="true")

    assert shown["schema"] == {"properties": {"a": "real"}}


def test_imports_may_be_ids_and_no_more(mount: Mount) -> None:
    """Nothing else is required by the schema."""
    _, fs = mount(shows_details=False)

    (shown,) = results(fs, create(fs, users(1)), "/imports")

    assert shown.keys() == {"id"}


def test_an_imported_user_who_is_gone_is_an_id(mount: Mount, clock: Any) -> None:
    """The import took place all the same."""
    _, fs = mount()
    job_id = create(fs, users(1))
    fs.delete("/v2/users", params={"uid": "u0"})
    clock.now += 60

    (shown,) = results(fs, job_id, "/imports")

    assert shown.keys() == {"id"}


@pytest.mark.parametrize(("kind", "bad"), [("/imports", 0), ("/errors", 5)])
def test_pages_hold_every_result_once(mount: Mount, kind: str, bad: int) -> None:
    """Following the token leads to the end, and each page says how many there are in all, as text."""
    _, fs = mount(page_size=2)
    items = [{"uid": "" if bad else f"u{number}", "email": f"{number}"} for number in range(5)]
    job_id = create(fs, items)

    seen: list[str] = []
    totals: list[str] = []
    token: dict[str, str] = {}
    while True:
        page = ask(fs, job_id, kind, **token).json()
        seen += [shown.get("user", shown)["email"] for shown in page["results"]]
        totals.append(page["total_records"])
        if not page.get("next_page_token"):
            break
        token = {"page_token": page["next_page_token"]}

    assert (seen, totals) == (["0", "1", "2", "3", "4"], ["5", "5", "5"])


def test_a_full_last_page_has_no_token(mount: Mount) -> None:
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
def test_the_last_page_says_so_in_one_way_or_another(mount: Mount, last_page: str, ends: list[str | None]) -> None:
    """All ways were seen or documented; unless told otherwise, they take turns."""
    _, fs = mount(last_page=last_page)
    job_id = create(fs, users(1))

    assert [ask(fs, job_id, "/errors").json().get("next_page_token", "-") for _ in range(3)] == ends


def test_a_token_can_be_used_again(mount: Mount) -> None:
    """A retry of a page reads the same results, also when later pages were read."""
    _, fs = mount(page_size=2)
    job_id = create(fs, users(6))
    token = ask(fs, job_id, "/imports").json()["next_page_token"]
    page = ask(fs, job_id, "/imports", page_token=token).json()

    again = ask(fs, job_id, "/imports", page_token=token).json()

    assert [user["uid"] for user in again["results"]] == ["u2", "u3"]
    assert again == page


def test_a_token_is_bound_to_its_list_and_its_job(mount: Mount) -> None:
    """Another one refuses it."""
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
def test_a_parameter_that_is_not_documented_is_refused(fs: httpx.Client, rest: str, params: dict[str, str]) -> None:
    """The errors know no schema."""
    assert ask(fs, create(fs, users(1)), rest, **params).status_code == 400


# Quotas


def test_further_jobs_wait(mount: Mount, clock: Any) -> None:
    """They are accepted, and start when others complete."""
    _, fs = mount(max_running=2, job_seconds=10)
    jobs = [create(fs, users(1)) for _ in range(3)]
    clock.now += 10
    first = [status(fs, job_id) for job_id in jobs]
    clock.now += 10

    assert first == ["COMPLETED", "COMPLETED", "PROCESSING"]
    assert status(fs, jobs[2]) == "COMPLETED"


@pytest.mark.parametrize("rules", [{"max_jobs": 2}, {"max_operations": 4}])
def test_too_much_in_progress_is_refused(mount: Mount, clock: Any, rules: dict[str, int]) -> None:
    """The 429 says when to come back, and lasts until something completes."""
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


@pytest.mark.parametrize(("seconds", "told"), [(math.inf, "60"), (0, "1")])
def test_the_wait_is_never_nothing_and_never_long(mount: Mount, seconds: float, told: str) -> None:
    """Also where a job never ends, or ends with a poll."""
    _, fs = mount(max_jobs=1, job_seconds=seconds, job_polls=1)
    create(fs, users(1))

    assert fs.post(BATCH, json={"requests": users(1)}).headers["retry-after"] == told


def test_a_vendor_may_take_no_batches_at_all(mount: Mount) -> None:
    """Then nothing that could complete tells how long to wait."""
    _, fs = mount(max_jobs=0)

    response = fs.post(BATCH, json={"requests": users(1)})

    assert (response.status_code, response.headers["retry-after"]) == (429, "60")


def test_a_refused_batch_may_come_again_with_its_key(mount: Mount, clock: Any) -> None:
    """A 429 is not kept under the key."""
    emulator, fs = mount(max_jobs=1, job_seconds=10)
    create(fs, users(1))

    refused = fs.post(BATCH, json={"requests": users(2)}, headers=KEY)
    clock.now += 10
    accepted = fs.post(BATCH, json={"requests": users(2)}, headers=KEY)

    assert (refused.status_code, accepted.status_code) == (429, 200)
    assert [job.items for job in emulator.jobs] == [1, 2]


# Idempotency and counts


def test_a_repeated_key_makes_no_second_job(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """The answer to the first is replayed, and nobody is written to twice."""
    first = create(fs, [{"uid": "u1"}, {}], **KEY)
    second = create(fs, [{"uid": "u1"}, {}], **KEY)

    assert first == second
    assert sorted(fullstory.applied.values()) == [1, 1]


def test_a_repeated_batch_without_a_key_is_applied_again(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """The counts show it."""
    for _ in range(2):
        create(fs, [{"uid": "u1"}, BAD])

    assert (fullstory.applied, fullstory.total_applied) == ({"u1": 2}, 2)
    assert [(job.items, job.imports, job.errors, job.status) for job in fullstory.jobs] == [(2, 1, 1, "FAILED")] * 2


def test_single_requests_are_counted_as_well(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """A user is counted by uid, or by Fullstory id without one; what was refused is not counted."""
    user_id = fs.post("/v2/users", json={}).json()["id"]
    fs.post("/v2/users", json={"uid": "u1"})
    fs.post(f"/v2/users/{user_id}", json={"uid": "u2"})
    fs.post("/v2/users", json=BAD)

    assert fullstory.applied == {user_id: 1, "u1": 1, "u2": 1}


def test_a_history_shows_what_was_applied_and_when(mount_fullstory: MountFullstory) -> None:
    """Batches and single requests, in the order in which they were applied."""
    emulator = FullstoryEmulator(keeps_history=True)
    fs = mount_fullstory(emulator)
    create(fs, [{"uid": "u1", "email": "a"}, {"uid": "u2"}, {"uid": "u1", "email": "b"}])
    fs.post("/v2/users", json={"uid": "u1", "email": "c"})

    assert emulator.history("u1") == tuple({"uid": "u1", "email": text} for text in "abc")
    assert emulator.history("nobody") == ()


def test_a_reset_forgets_the_history(mount_fullstory: MountFullstory) -> None:
    """As it forgets everything else."""
    emulator = FullstoryEmulator(keeps_history=True)
    create(mount_fullstory(emulator), users(1))

    emulator.reset()

    assert emulator.history("u0") == ()


def test_a_history_is_kept_when_told_to(fullstory: FullstoryEmulator) -> None:
    """A test that forgot to say so learns of it."""
    with pytest.raises(HistoryNotKeptError, match="keeps_history=True"):
        fullstory.history("u1")


def test_jobs_and_counts_can_be_looked_at(fs: httpx.Client) -> None:
    """GET /_emulator/jobs and GET /_emulator/applied show them."""
    job_id = create(fs, [*users(1), BAD])

    shown = {"id": job_id, "status": "FAILED", "items": 2, "imports": 1, "errors": 1, "polls": 0}
    assert fs.get("/_emulator/jobs").json() == {"jobs": [shown]}
    assert fs.get("/_emulator/applied").json() == {"total": 1, "users": {"u0": 1}}


# Faults


@pytest.mark.parametrize(("drop", "jobs"), [("before", 0), ("after", 2)])
def test_answers_to_the_first_creates_can_be_lost(
    fs: httpx.Client, fullstory: FullstoryEmulator, drop: Any, jobs: int
) -> None:
    """With or without a job that was made."""
    fullstory.faults.add(Fault(drop=drop, route=BATCH, method="POST", times=2))
    for _ in range(2):
        with pytest.raises(httpx.TransportError):
            create(fs, users(1))

    assert (len(fullstory.jobs), fullstory.total_applied) == (jobs, jobs)
    assert status(fs, create(fs, users(1))) == "COMPLETED"


def test_a_lost_answer_is_replayed_for_its_key(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """The job that nobody heard of can be found after all."""
    fullstory.faults.add(Fault(drop="after"))
    with pytest.raises(httpx.TransportError):
        create(fs, users(1), **KEY)

    job_id = create(fs, users(1), **KEY)

    assert [job.id for job in fullstory.jobs] == [job_id]
    assert fullstory.applied == {"u0": 1}


def test_creates_can_be_refused(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """A staged status makes no job."""
    fullstory.faults.add(Fault(status=503, route=BATCH))

    assert fs.post(BATCH, json={"requests": users(1)}).status_code == 503
    assert fullstory.jobs == ()


def test_one_kind_of_answer_can_be_spoiled(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """A fault may be for the pages of errors alone, whatever the job."""
    fullstory.faults.add(Fault(garbage="broken", route=f"{BATCH}/*/errors"))
    job_id = create(fs, users(1))

    whole = ask(fs, job_id, "/imports").content
    broken = ask(fs, job_id, "/errors").content

    assert whole.endswith(b"}")
    assert not broken.endswith(b"}")


@pytest.mark.parametrize(("listed", "errors"), [(False, 0), (True, 3)])
def test_a_job_can_fail_as_a_whole(
    fs: httpx.Client, fullstory: FullstoryEmulator, errors: int, *, listed: bool
) -> None:
    """Nothing is applied, and the items are listed as errors or not at all."""
    fullstory.job_faults.add(JobFault(max_applied=0, lists_unapplied=listed))

    job_id = create(fs, users(3))

    body = ask(fs, job_id).json()
    assert (body["job"]["status"], body["imports"], body.get("errors", 0)) == ("FAILED", 0, errors)
    assert [error["code"] for error in results(fs, job_id, "/errors")] == ["server_error"] * errors
    assert not fullstory.users


def test_a_job_can_stop_half_way(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """The first items are applied, and nothing is heard of the others."""
    fullstory.job_faults.add(JobFault(max_applied=2))

    job_id = create(fs, users(3))

    assert (status(fs, job_id), list(fullstory.applied)) == ("FAILED", ["u0", "u1"])
    assert [len(results(fs, job_id, kind)) for kind in ("/imports", "/errors")] == [2, 0]


def test_a_job_can_stop_no_later_than_its_end(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """It is FAILED though everything was applied."""
    fullstory.job_faults.add(JobFault(max_applied=9))

    assert (status(fs, create(fs, users(3))), fullstory.total_applied) == ("FAILED", 3)


@pytest.mark.parametrize(("polls", "told"), [(1, ["UNKNOWN", "COMPLETED"]), (None, ["UNKNOWN", "UNKNOWN"])])
def test_a_poll_can_say_anything(
    fs: httpx.Client, fullstory: FullstoryEmulator, polls: int | None, told: list[str]
) -> None:
    """The job is none the worse for it."""
    fullstory.job_faults.add(JobFault(reported_status="UNKNOWN", reported_polls=polls))

    job_id = create(fs, users(1))

    assert [status(fs, job_id) for _ in range(2)] == told
    assert len(results(fs, job_id, "/imports")) == 1


def test_a_job_can_vanish(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """It does its work, and nobody can ask for it."""
    fullstory.job_faults.add(JobFault(hidden=True))

    job_id = create(fs, users(1))

    assert ask(fs, job_id).status_code == 404
    assert fullstory.applied == {"u0": 1}


def test_a_job_can_take_longer_than_a_later_one(mount: Mount, clock: Any) -> None:
    """So the older values are applied last."""
    emulator, fs = mount(job_seconds=10)
    emulator.job_faults.add(JobFault(seconds=20))
    create(fs, [{"uid": "u1", "email": "older"}])
    create(fs, [{"uid": "u1", "email": "newer"}])
    clock.now += 20

    fs.get("/me")
    user = emulator.by_uid("u1")

    assert user is not None
    assert user.email == "older"


def test_faults_of_jobs_happen_in_the_order_they_were_added(mount: Mount) -> None:
    """Each to as many jobs as told; one without fields lets a job pass."""
    emulator, fs = mount()
    emulator.job_faults.add(JobFault())
    emulator.job_faults.add(JobFault(max_applied=0), times=2)

    assert [status(fs, create(fs, users(1))) for _ in range(4)] == ["COMPLETED", "FAILED", "FAILED", "COMPLETED"]


def test_a_reset_calls_faults_of_jobs_off(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """What waits does not happen."""
    fullstory.job_faults.add(JobFault(max_applied=0))

    fullstory.reset()

    assert status(fs, create(fs, users(1))) == "COMPLETED"


def test_faults_of_jobs_can_be_called_off() -> None:
    """As those of requests can."""
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
def test_what_makes_no_sense_can_not_be_made(make: Callable[..., object], fields: dict[str, Any]) -> None:
    """Mistakes show where they are made."""
    with pytest.raises(ValueError, match=next(iter(fields))):
        make(**fields)
