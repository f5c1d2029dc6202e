"""Exports of segments: start, operation, signed link and file."""

import csv
import gzip
import io
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

import httpx
import pytest
from support.clock import Clock

from replay_identity.emulator import ExportRules, FullstoryEmulator, Level

MountFullstory: TypeAlias = Callable[[FullstoryEmulator], httpx.Client]

ALL: Final = {"start": "", "end": ""}
BODY: Final[dict[str, Any]] = {
    "segmentId": "everyone",
    "type": "TYPE_INDIVIDUAL",
    "format": "FORMAT_NDJSON",
    "timeRange": ALL,
    "segmentTimeRange": ALL,
}
NO_KEY: Final = {"authorization": ""}


def start(fs: httpx.Client, **fields: object) -> str:
    """Start an export and return the path of its operation."""
    response = fs.post("/segments/v1/exports", json={**BODY, **fields})
    assert response.status_code == 200
    return f"/operations/v1/{httpx.URL(params={'i': response.json()['operationId']}).query.decode()[2:]}"


def link_to(fs: httpx.Client, export_id: str) -> httpx.Response:
    """Ask for the link to an export."""
    escaped = httpx.URL(params={"i": export_id}).query.decode()[2:]
    return fs.get(f"/search/v1/exports/{escaped}/results")


def exported(fs: httpx.Client, **fields: object) -> str:
    """Export everybody and return the signed link."""
    operation = fs.get(start(fs, **fields)).json()
    assert operation["state"] == "COMPLETED"
    location = link_to(fs, operation["results"]["searchExportId"]).json()["location"]
    assert isinstance(location, str)
    return location


def rows(fs: httpx.Client, **fields: object) -> list[dict[str, Any]]:
    """Export everybody and return the rows."""
    return [json.loads(line) for line in httpx.get(exported(fs, **fields)).text.splitlines()]


def with_users(emulator: FullstoryEmulator, mount: MountFullstory) -> httpx.Client:
    """Serve an emulator with two users."""
    fs = mount(emulator)
    fs.post("/v2/users", json={"uid": "u1", "email": "a@example.com", "properties": {"plan": "pro", "a": {"n": 2}}})
    fs.post("/v2/users", json={"display_name": "Zoë", "properties": {"tags": ["x", "y"], "ok": True, "none": []}})
    return fs


@pytest.fixture
def two(fullstory: FullstoryEmulator, mount_fullstory: MountFullstory) -> httpx.Client:
    """Return a client of an emulator with two users, one of them anonymous."""
    return with_users(fullstory, mount_fullstory)


def test_rows_have_all_fields(two: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """Custom fields end in the type, and ids are numbers beyond 2**53."""
    first, second = rows(two)

    ids = [int(user_id) for user_id in fullstory.users]
    assert [first["IndvId"], second["IndvId"]] == ids
    assert first["UserId"] not in {*ids, second["UserId"]}
    assert (first["UserAppKey"], first["UserEmail"], first["UserDisplayName"]) == ("u1", "a@example.com", None)
    assert first["UserCreated"] == second["UserCreated"]
    assert datetime.fromisoformat(first["UserCreated"]).timestamp() == next(iter(fullstory.users.values())).created
    assert (first["user_plan_str"], first["user_a.n_real"], first["user_tags_strs"]) == ("pro", 2.0, None)
    assert (second["UserAppKey"], second["UserDisplayName"]) == (None, "Zoë")
    assert (second["user_tags_strs"], second["user_ok_bool"]) == (["x", "y"], True)
    assert not [name for name in second if "none" in name]


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        (["UserAppKey", "UserAppKey", "user_plan_str"], ["UserAppKey", "user_plan_str"]),
        (["user_*", "UserEmail"], ["user_a.n_real", "user_ok_bool", "user_plan_str", "user_tags_strs", "UserEmail"]),
        (["user_never_date"], ["user_never_date"]),
    ],
)
def test_fields_select_columns(two: httpx.Client, fields: list[str], names: list[str]) -> None:
    """The order is that of the request, and `user_*` is every custom field."""
    assert [list(row) for row in rows(two, fields=fields)] == [names, names]


def test_empty_fields_can_be_left_out(mount_fullstory: MountFullstory) -> None:
    """With `shows_nulls=False` a row has only the fields with a value."""
    fs = with_users(FullstoryEmulator(exports=ExportRules(shows_nulls=False)), mount_fullstory)

    assert rows(fs, fields=["UserAppKey", "user_plan_str"]) == [{"UserAppKey": "u1", "user_plan_str": "pro"}, {}]


def test_newest_fitting_type_names_the_column(fs: httpx.Client) -> None:
    """A property that changed its type has one column per type, and the value in one of them."""
    fs.post("/v2/users", json={"uid": "u1", "properties": {"a": "x"}})
    fs.post("/v2/users", json={"uid": "u1", "properties": {"a": 1}})

    assert rows(fs, fields=["user_*"]) == [{"user_a_real": 1.0}]


def test_csv_has_a_header(two: httpx.Client) -> None:
    """Lists and numbers are JSON, and no value is an empty cell."""
    fields = ["UserAppKey", "UserDisplayName", "user_a.n_real", "user_tags_strs"]

    text = httpx.get(exported(two, format="FORMAT_CSV", fields=fields)).content.decode()

    assert list(csv.reader(io.StringIO(text))) == [fields, ["u1", "", "2.0", ""], ["", "Zoë", "", '["x","y"]']]


def test_json_is_one_list(two: httpx.Client) -> None:
    """FORMAT_JSON is a list of objects."""
    response = httpx.get(exported(two, format="FORMAT_JSON", fields=["UserEmail"], timezone="UTC"))

    assert response.json() == [{"UserEmail": "a@example.com"}, {"UserEmail": None}]
    assert response.headers["content-type"] == "application/json"


def test_link_is_on_another_host_without_a_key(two: httpx.Client) -> None:
    """A key that is sent there is refused."""
    location = exported(two)

    response = httpx.get(location, headers={"authorization": "Basic na1.emulator"})

    api, storage = urlsplit(str(two.base_url)), urlsplit(location)
    assert (storage.hostname, storage.port) == ("localhost", api.port)
    assert (response.status_code, "InvalidArgument" in response.text) == (400, True)
    assert httpx.get(location).status_code == 200


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("localhost:1", "http://127.0.0.1:1"),
        ("LOCALHOST", "http://127.0.0.1"),
        ("127.0.0.1", "http://localhost"),
        ("[::1]:1", "http://localhost:1"),
        ("[::1]", "http://localhost"),
    ],
)
def test_link_has_the_other_name(two: httpx.Client, host: str, origin: str) -> None:
    """It depends on the name by which the API was called."""
    two.headers["host"] = host
    try:
        location = exported(two)
    finally:
        del two.headers["host"]

    assert location.startswith(f"{origin}/fullstory-exports/")


def test_link_origin_can_be_set(mount_fullstory: MountFullstory) -> None:
    """So that a test can put a server of its own behind the link."""
    fs = mount_fullstory(FullstoryEmulator(exports=ExportRules(link_origin="http://127.0.0.1:9")))

    assert exported(fs).startswith("http://127.0.0.1:9/fullstory-exports/")


def test_forged_link_is_refused(two: httpx.Client) -> None:
    """The signature belongs to one path and to GET."""
    location = exported(two)

    statuses = [
        httpx.get(location.replace(".ndjson", ".csv")).status_code,
        httpx.get(location[:-1]).status_code,
        httpx.post(location).status_code,
        httpx.get(location.partition("?")[0]).status_code,
    ]

    assert statuses == [403, 403, 403, 403]


def test_link_expires(two: httpx.Client, clock: Clock) -> None:
    """A new one can be had until the results expire."""
    operation = two.get(start(two)).json()
    export_id = operation["results"]["searchExportId"]
    link = link_to(two, export_id).json()
    assert datetime.fromisoformat(link["expires"]) == datetime.fromtimestamp(clock() + 3600, UTC)
    assert datetime.fromisoformat(operation["results"]["expires"]) == datetime.fromtimestamp(clock() + 86400, UTC)

    clock.now += 3600

    expired = httpx.get(link["location"])
    assert (expired.status_code, "ExpiredToken" in expired.text) == (400, True)
    assert httpx.get(link_to(two, export_id).json()["location"]).status_code == 200
    clock.now += 86400 - 3600
    assert link_to(two, export_id).status_code == 404


def test_export_takes_time_and_polls(clock: Clock, mount_fullstory: MountFullstory) -> None:
    """Until then its operation is PENDING, and says how far it is."""
    fs = mount_fullstory(FullstoryEmulator(clock=clock, exports=ExportRules(seconds=10, polls=2)))
    path = start(fs)

    seen: list[tuple[object, ...]] = []
    for _ in range(4):
        operation = fs.get(path).json()
        seen.append((operation["state"], operation["estimatePctComplete"], operation["results"] is None))
        clock.now += 5

    assert seen == [
        ("PENDING", 0, True),
        ("PENDING", 49, True),
        ("COMPLETED", 100, False),
        ("COMPLETED", 100, False),
    ]


def test_export_shows_users_at_its_end(clock: Clock, mount_fullstory: MountFullstory) -> None:
    """A poll ends the export, and later users are not in it."""
    fs = mount_fullstory(FullstoryEmulator(clock=clock, exports=ExportRules(polls=1)))
    path = start(fs)
    assert fs.get(path).json()["estimatePctComplete"] == 49
    fs.post("/v2/users", json={"uid": "before"})

    operation = fs.get(path).json()
    fs.post("/v2/users", json={"uid": "after"})

    location = link_to(fs, operation["results"]["searchExportId"]).json()["location"]
    assert [json.loads(line)["UserAppKey"] for line in httpx.get(location).text.splitlines()] == ["before"]


def test_export_can_fail(mount_fullstory: MountFullstory) -> None:
    """The operation says why, and the next export succeeds."""
    fs = mount_fullstory(FullstoryEmulator(exports=ExportRules(failures=["too large"])))

    failed, succeeded = fs.get(start(fs)).json(), fs.get(start(fs)).json()

    assert (failed["state"], failed["errorDetails"], failed["results"]) == ("FAILED", "too large", None)
    assert (succeeded["state"], succeeded["errorDetails"]) == ("COMPLETED", "")


def test_first_polls_can_report_other_states(mount_fullstory: MountFullstory) -> None:
    """UNKNOWN is the default of the contract."""
    fs = mount_fullstory(FullstoryEmulator(exports=ExportRules(reported_states=["UNKNOWN"])))
    path = start(fs)

    first, second = fs.get(path).json(), fs.get(path).json()

    assert (first["state"], first["results"], second["state"]) == ("UNKNOWN", None, "COMPLETED")


@pytest.mark.parametrize("exports", [ExportRules(polls=9), ExportRules(failures=["no"])])
def test_export_without_results_has_no_link(mount_fullstory: MountFullstory, exports: ExportRules) -> None:
    """The link of an unfinished or failed export is a 404, even for one who knows its id."""
    emulator = FullstoryEmulator(exports=exports)
    fs = mount_fullstory(emulator)
    known = FullstoryEmulator()
    export_id = mount_fullstory(known).get(start(fs)).json()["results"]["searchExportId"]
    fs = mount_fullstory(emulator)
    fs.get(start(fs))

    assert link_to(fs, export_id).status_code == 404


@pytest.mark.parametrize(
    ("fields", "uids"),
    [
        ({}, ["old", "new"]),
        ({"segmentTimeRange": None}, ["new"]),
        ({"timeRange": {"start": "2023-12-01T00:00:00Z", "end": ""}}, ["new"]),
        ({"timeRange": {"end": "2023-12-01T00:00:00+02:00"}}, ["old"]),
        ({"segmentTimeRange": {"start": "", "end": "2023-12-01T00:00:00Z"}}, ["old"]),
    ],
)
def test_time_ranges_select_users(fs: httpx.Client, clock: Clock, fields: dict[str, object], uids: list[str]) -> None:
    """Both ranges apply, and everyone means the last 30 days unless the request says otherwise."""
    clock.now = datetime(2023, 11, 1, tzinfo=UTC).timestamp()
    fs.post("/v2/users", json={"uid": "old"})
    clock.now = datetime(2024, 1, 1, tzinfo=UTC).timestamp()
    fs.post("/v2/users", json={"uid": "new"})
    body = {name: value for name, value in {**BODY, **fields}.items() if value is not None}

    operation_id = fs.post("/segments/v1/exports", json=body).json()["operationId"]

    escaped = httpx.URL(params={"i": operation_id}).query.decode()[2:]
    export_id = fs.get(f"/operations/v1/{escaped}").json()["results"]["searchExportId"]
    lines = httpx.get(link_to(fs, export_id).json()["location"]).text.splitlines()
    assert [json.loads(line)["UserAppKey"] for line in lines] == uids


def test_only_users_with_events_are_exported(mount_fullstory: MountFullstory) -> None:
    """A user that only the API knows is in the list but in no export, nor is a deleted one."""
    fs = mount_fullstory(FullstoryEmulator(exports=ExportRules(active_uids={"u1", "u2"})))
    for uid in ("u1", "u2", "u3"):
        fs.post("/v2/users", json={"uid": uid})
    fs.delete("/v2/users?uid=u2")

    assert [row["UserAppKey"] for row in rows(fs)] == ["u1"]


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"segment_id": "everyone"}, "Unknown field"),
        ({"type": "TYPE_EVENT"}, "type"),
        ({"format": "FORMAT_PARQUET"}, "format"),
        ({"timezone": 1}, "timezone"),
        ({"timeRange": None}, "timeRange"),
        ({"timeRange": {"start": "2024-01-01"}}, "timeRange"),
        ({"timeRange": {"start": 0}}, "timeRange"),
        ({"timeRange": {"begin": ""}}, "timeRange"),
        ({"segmentTimeRange": {"end": "x"}}, "segmentTimeRange"),
        ({"fields": "UserEmail"}, "fields"),
        ({"fields": ["Email"]}, "fields"),
        ({"fields": ["user_plan"]}, "fields"),
        ({"fields": [1]}, "fields"),
    ],
)
def test_invalid_export_is_rejected(fs: httpx.Client, fields: dict[str, object], problem: str) -> None:
    """The response names the field."""
    response = fs.post("/segments/v1/exports", json={**BODY, **fields})

    assert response.status_code == 400
    assert problem in response.json()["message"]


@pytest.mark.parametrize("name", ["segmentId", "type", "format", "timeRange"])
def test_export_requires_its_fields(fs: httpx.Client, name: str) -> None:
    """The others are optional."""
    response = fs.post("/segments/v1/exports", json={key: value for key, value in BODY.items() if key != name})

    assert (response.status_code, response.json()["code"]) == (400, "required_field")


def test_unknown_ids_are_not_found(fs: httpx.Client) -> None:
    """A segment, an operation and an export."""
    other = {**BODY, "segmentId": "mine"}

    assert fs.post("/segments/v1/exports", json=other).status_code == 404
    assert fs.get("/operations/v1/x").status_code == 404
    assert fs.get("/search/v1/exports/x/results").status_code == 404


def test_standard_key_can_only_poll(mount_fullstory: MountFullstory) -> None:
    """Starting an export and reading it need an Architect."""
    emulator = FullstoryEmulator(api_keys={"na1.emulator": Level.ARCHITECT, "na1.low": Level.STANDARD})
    fs = mount_fullstory(emulator)
    path = start(fs)
    low = {"authorization": "Basic na1.low"}

    assert fs.post("/segments/v1/exports", json=BODY, headers=low).status_code == 403
    assert fs.get("/search/v1/exports/x/results", headers=low).status_code == 403
    assert fs.get(path, headers=low).status_code == 200


@pytest.mark.parametrize(
    ("compression", "accepts", "encoding", "ranges"),
    [
        ("none", "gzip", None, True),
        ("encoding", "deflate, GZIP;q=0.5", "gzip", True),
        ("encoding", "identity", None, False),
        ("file", "gzip", None, True),
    ],
)
def test_file_can_be_packed(
    mount_fullstory: MountFullstory, compression: Any, accepts: str, encoding: str | None, *, ranges: bool
) -> None:
    """As it is, with a Content-Encoding, or as a .gz file; parts are those of the bytes that are sent."""
    fs = with_users(FullstoryEmulator(exports=ExportRules(compression=compression)), mount_fullstory)
    location = exported(fs, fields=["UserAppKey"])

    with httpx.stream("GET", location, headers={"accept-encoding": accepts}) as response:
        raw = b"".join(response.iter_raw())
    with httpx.stream("GET", location, headers={"accept-encoding": accepts, "range": "bytes=1-3"}) as response:
        part = b"".join(response.iter_raw())

    is_packed = compression == "file" or encoding == "gzip"
    assert (gzip.decompress(raw) if is_packed else raw) == b'{"UserAppKey":"u1"}\n{"UserAppKey":null}\n'
    assert response.headers.get("content-encoding") == encoding
    assert part == (raw[1:4] if ranges else raw)
    assert (".gz?" in location) == (compression != "none")


@pytest.mark.parametrize(
    ("headers", "status", "content_range", "body"),
    [
        ({"range": "bytes=17-"}, 206, "bytes 17-19/20", b'"}\n'),
        ({"range": "bytes=-2"}, 206, "bytes 18-19/20", b"}\n"),
        ({"range": "bytes=-99"}, 206, "bytes 0-19/20", b'{"UserAppKey":"u1"}\n'),
        ({"range": "bytes=0-0"}, 206, "bytes 0-0/20", b"{"),
        ({"range": "bytes=18-99"}, 206, "bytes 18-19/20", b"}\n"),
        ({"range": "bytes=20-"}, 416, "bytes */20", None),
        ({"range": "bytes=-0"}, 416, "bytes */20", None),
        ({"range": "bytes=-"}, 200, None, None),
        ({"range": "bytes=0-1,3-4"}, 200, None, None),
        ({"range": "bytes=17-", "if-range": '"old"'}, 200, None, None),
    ],
)
def test_parts_can_be_asked_for(
    mount_fullstory: MountFullstory, headers: dict[str, str], status: int, content_range: str | None, body: bytes | None
) -> None:
    """As RFC 9110 says, so that an interrupted download can go on."""
    fs = mount_fullstory(FullstoryEmulator(exports=ExportRules(compression="none")))
    fs.post("/v2/users", json={"uid": "u1"})
    location = exported(fs, fields=["UserAppKey"])

    response = httpx.get(location, headers=headers)

    assert (response.status_code, response.headers.get("content-range")) == (status, content_range)
    assert status == 416 or response.content == (body or b'{"UserAppKey":"u1"}\n')


def test_reset_deletes_exports(two: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """Their operations, links and views."""
    path = start(two)
    location = exported(two)
    assert [export["state"] for export in two.get("/_emulator/exports").json()["exports"]] == ["PENDING", "COMPLETED"]

    fullstory.reset()

    assert two.get(path).status_code == 404
    assert httpx.get(location).status_code == 403
    assert two.get("/_emulator/exports").json() == {"exports": []}


def test_download_can_be_faulty(two: httpx.Client) -> None:
    """Faults hit the storage as they hit the API."""
    location = exported(two)
    two.post("/_emulator/faults", json={"status": 503, "path": "/fullstory-exports/"})

    assert [httpx.get(location).status_code for _ in range(2)] == [503, 200]
