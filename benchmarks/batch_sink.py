"""A fake vendor with the endpoints of Fullstory, LogRocket and the peers: it accepts every user and counts them.

`python -m benchmarks.batch_sink --core 1 --latency 0.05 --quota 600 --window 60` prints its port. `GET /_stats` returns
the counts. A batch job is completed at its first status request. A user's PUT is answered with the user.
"""

import argparse
import base64
import re
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any, Final
from urllib.parse import parse_qs, unquote

import attrs
import orjson

from benchmarks.serving import Pace, Quota, Request, Server, Stats, serve

_CREATED: Final = "2026-11-21T08:30:00.000Z"
# The string may contain escaped characters. No user of the benchmarks has a trait named "uid".
_UID: Final = re.compile(rb'"uid":\s?"((?:[^"\\]|\\.)*)"')
_PUT: Final = re.compile(r"/v1/orgs/[^/]+/apps/[^/]+/users/([^/?]+)")
_CUSTOMER: Final = re.compile(r"/api/v1/customers/([^/?]+)")
_JOB: Final = re.compile(r"/v2/users/batch/(\w+)(?:/(imports|errors))?(?:\?(.*))?")
_EMPTY: Final = b'{"results":[],"total_records":"0","next_page_token":null}'


@attrs.define
class Job:
    """A batch job, whose ids are parsed when they are first needed."""

    number: int
    body: bytes | None = attrs.field(repr=False)
    uids: list[bytes] = attrs.field(factory=list[bytes], repr=False)

    def read_uids(self, stats: Stats) -> list[bytes]:
        """Return the ids of the users; the first call adds them to *stats*."""
        if self.body is not None:
            self.uids = _UID.findall(self.body)
            self.body = None
            stats.add(self.uids)
        return self.uids

    def as_json(self, status: str) -> Mapping[str, str]:
        """Return the job as Fullstory shows it."""
        job = {"id": f"job{self.number}", "status": status, "created": _CREATED}
        return job if status == "PROCESSING" else {**job, "finished": _CREATED}


@attrs.define
class Fullstory:
    """Fullstory's endpoints for single users and for batch jobs, which import every user."""

    stats: Stats
    page_size: int
    _jobs: dict[str, Job] = attrs.field(init=False, factory=dict[str, Job])
    _numbers: Any = attrs.field(init=False, factory=lambda: count(1))

    def create_job(self, request: Request) -> bytes:
        """Accept a batch without parsing it, since the client is waiting."""
        job = Job(next(self._numbers), request.body)
        self._jobs[f"job{job.number}"] = job
        return orjson.dumps({"job": job.as_json("PROCESSING")})

    def create_user(self, request: Request) -> bytes:
        """Accept a single user."""
        uids = _UID.findall(request.body)
        self.stats.add(uids)
        return b'{"id":"7449164135934483470","uid":"%b"}' % (uids[0] if uids else b"")

    def read_job(self, request: Request) -> bytes | None:
        """Return the status of a job or a page of its results, or None if there is no such job."""
        match = _JOB.fullmatch(request.target)
        job = self._jobs.get(match[1]) if match else None
        if match is None or job is None:
            return None

        uids = job.read_uids(self.stats)
        if match[2] == "errors":
            return _EMPTY
        if match[2] == "imports":
            token = parse_qs(match[3] or "").get("page_token", ["0"])[0]
            return self._page(job, int(token))
        return orjson.dumps({"imports": len(uids), "errors": 0, "job": job.as_json("COMPLETED")})

    def count_unread_jobs(self) -> None:
        """Count the users of jobs whose status was never requested."""
        for job in self._jobs.values():
            job.read_uids(self.stats)

    def _page(self, job: Job, start: int) -> bytes:
        uids, end = job.uids, start + self.page_size
        base = job.number * 10_000_000 + start
        results = b",".join(
            [b'{"id":"%d","uid":"%b"}' % (number, uid) for number, uid in enumerate(uids[start:end], base)]
        )
        next_token = b'"%d"' % end if end < len(uids) else b"null"
        return b'{"results":[%b],"total_records":"%d","next_page_token":%b}' % (results, len(uids), next_token)


def _event_ids(body: bytes, *, list_name: str, id_name: str) -> list[bytes]:
    """Return the ids in a batch in the format of Segment."""
    return [str(event.get(id_name)).encode() for event in orjson.loads(body)[list_name]]


def _mixpanel_ids(body: bytes) -> list[bytes]:
    """Return the ids in a request of Mixpanel: JSON, or a form whose data is JSON, in old versions as base64."""
    data = parse_qs(body.decode())["data"][0] if body[:1] not in {b"[", b"{"} else body.decode()
    parsed: Any = orjson.loads(data if data[:1] in {"[", "{"} else base64.b64decode(data))
    updates: list[Any] = [parsed] if "$distinct_id" in parsed else parsed
    return [str(update["$distinct_id"]).encode() for update in updates]


@attrs.define
class Vendors:
    """All endpoints by method and path."""

    stats: Stats
    fullstory: Fullstory
    _posts: Mapping[str, Callable[[Request], bytes]] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._posts = self._endpoints()

    def handle(self, request: Request) -> bytes | None:
        """Return the body of the response, or None if there is no such endpoint."""
        path = request.target.partition("?")[0].rstrip("/")
        if request.method == "PUT":
            return self._put(path, request.body)
        if request.method == "GET":
            return self.fullstory.read_job(request)

        post = self._posts.get(path)
        return post(request) if post else None

    def _put(self, path: str, body: bytes) -> bytes | None:
        match = _PUT.fullmatch(path) or _CUSTOMER.fullmatch(path)
        if match is None:
            return None

        self.stats.add([match[1].encode()])
        return echo(unquote(match[1]), body)

    def _endpoints(self) -> Mapping[str, Callable[[Request], bytes]]:
        return {
            "/v2/users/batch": self.fullstory.create_job,
            "/v2/users": self.fullstory.create_user,
            "/v1/batch": lambda request: self._accept(_event_ids(request.body, list_name="batch", id_name="userId")),
            "/batch": lambda request: self._accept(_event_ids(request.body, list_name="batch", id_name="distinct_id")),
            "/engage": lambda request: self._accept(_mixpanel_ids(request.body)),
        }

    def _accept(self, user_ids: list[bytes]) -> bytes:
        self.stats.add(user_ids)
        return b'{"status":1,"error":null}'


def echo(user_id: str, body: bytes) -> bytes:
    """Return the user as LogRocket does: an id of its own, `userID`, and every field of the JSON object *body*."""
    fields = body.strip()[1:]
    comma = b"," if len(fields) > 1 else b""
    return b'{"id":"7449164135934483470","userID":%b%b%b' % (orjson.dumps(user_id), comma, fields)


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--core", type=int)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each response")
    parser.add_argument("--quota", type=int, help="maximum requests in any window; GET does not count")
    parser.add_argument("--window", type=float, default=60.0, help="length of the window in seconds")
    parser.add_argument("--per-second", type=float, default=0.0, help="maximum responses a second, one after another")
    parser.add_argument("--page-size", type=int, default=1000)
    parser.add_argument("--port", type=int, default=0)
    arguments = parser.parse_args()
    stats = Stats()
    fullstory = Fullstory(stats, arguments.page_size)
    server = Server(Vendors(stats, fullstory).handle, stats, arguments.latency, finish=fullstory.count_unread_jobs)
    server.quota = Quota(arguments.quota, arguments.window) if arguments.quota else None
    server.pace = Pace(1 / arguments.per_second) if arguments.per_second else None
    serve(server, core=arguments.core, port=arguments.port)


if __name__ == "__main__":
    main()
