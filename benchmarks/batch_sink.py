"""A vendor for everybody: Fullstory's batches and single users, LogRocket's users, and the endpoints of the peers.

`python -m benchmarks.batch_sink --core 1 --latency 0.05 --quota 600 --window 60` prints its port. `GET /_tally` tells
which users it acknowledged; every job is completed as soon as it is asked about.
"""

import argparse
import base64
import re
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any, Final
from urllib.parse import parse_qs

import attrs
import orjson

from benchmarks.serving import Asked, Quota, Server, Stats, serve

_CREATED: Final = "2026-11-21T08:30:00.000Z"
# Anything but a quotation mark, or an escaped character. The benchmarks' users have no trait of this name.
_UID: Final = re.compile(rb'"uid":\s?"((?:[^"\\]|\\.)*)"')
_PUT: Final = re.compile(r"/v1/orgs/[^/]+/apps/[^/]+/users/([^/?]+)")
_CUSTOMER: Final = re.compile(r"/api/v1/customers/([^/?]+)")
_JOB: Final = re.compile(r"/v2/users/batch/(\w+)(?:/(imports|errors))?(?:\?(.*))?")
_EMPTY: Final = b'{"results":[],"total_records":"0","next_page_token":null}'


@attrs.define
class Job:
    """A batch, and the ids in it once they are looked for."""

    number: int
    body: bytes | None = attrs.field(repr=False)
    uids: list[bytes] = attrs.field(factory=list[bytes], repr=False)

    def read(self, stats: Stats) -> list[bytes]:
        """Return the ids, and count them the first time."""
        if self.body is not None:
            self.uids = _UID.findall(self.body)
            self.body = None
            stats.note(self.uids)
        return self.uids


@attrs.define
class Fullstory:
    """Takes batches at once and tells afterwards what became of each user: all are imported."""

    stats: Stats
    page_size: int
    _jobs: dict[str, Job] = attrs.field(init=False, factory=dict[str, Job])
    _numbers: Any = attrs.field(init=False, factory=lambda: count(1))

    def create(self, asked: Asked) -> bytes:
        """Take a batch on, and look at it later: the client is waiting."""
        job = Job(next(self._numbers), asked.body)
        self._jobs[f"job{job.number}"] = job
        return orjson.dumps({"job": _shown(job, "PROCESSING")})

    def one(self, asked: Asked) -> bytes:
        """Take a single user."""
        uids = _UID.findall(asked.body)
        self.stats.note(uids)
        return b'{"id":"7449164135934483470","uid":"%b"}' % (uids[0] if uids else b"")

    def look(self, asked: Asked) -> bytes | None:
        """Return the status of a job, or a page of its results."""
        found = _JOB.fullmatch(asked.target)
        job = self._jobs.get(found[1]) if found else None
        if found is None or job is None:
            return None
        uids = job.read(self.stats)
        if found[2] == "errors":
            return _EMPTY
        if found[2] == "imports":
            token = parse_qs(found[3] or "").get("page_token", ["0"])[0]
            return self._page(job, int(token))
        return orjson.dumps({"imports": len(uids), "errors": 0, "job": _shown(job, "COMPLETED")})

    def settle(self) -> None:
        """Count the users of the jobs that nobody asked about."""
        for job in self._jobs.values():
            job.read(self.stats)

    def _page(self, job: Job, start: int) -> bytes:
        uids, end = job.uids, start + self.page_size
        base = job.number * 10_000_000 + start
        results = b",".join(
            [b'{"id":"%d","uid":"%b"}' % (number, uid) for number, uid in enumerate(uids[start:end], base)]
        )
        following = b'"%d"' % end if end < len(uids) else b"null"
        return b'{"results":[%b],"total_records":"%d","next_page_token":%b}' % (results, len(uids), following)


def _shown(job: Job, status: str) -> Mapping[str, str]:
    shown = {"id": f"job{job.number}", "status": status, "created": _CREATED}
    return shown if status == "PROCESSING" else {**shown, "finished": _CREATED}


def _events(body: bytes, *, list_name: str, id_name: str) -> list[bytes]:
    """Return the ids in a batch of Segment's shape."""
    return [str(event.get(id_name)).encode() for event in orjson.loads(body)[list_name]]


def _engaged(body: bytes) -> list[bytes]:
    """Return the ids in a batch of Mixpanel's: a form, whose data is JSON, in older versions in base64."""
    data = parse_qs(body.decode())["data"][0] if body[:1] not in {b"[", b"{"} else body.decode()
    updates: Any = orjson.loads(data if data[:1] in {"[", "{"} else base64.b64decode(data))
    together: list[Any] = [updates] if "$distinct_id" in updates else updates
    return [str(update["$distinct_id"]).encode() for update in together]


@attrs.define
class Vendors:
    """All endpoints, by method and path."""

    stats: Stats
    fullstory: Fullstory
    _posts: Mapping[str, Callable[[Asked], bytes]] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._posts = self._endpoints()

    def answer(self, asked: Asked) -> bytes | None:
        """Act on a request."""
        path = asked.target.partition("?")[0].rstrip("/")
        if asked.method == "PUT":
            return self._put(path)
        if asked.method == "GET":
            return self.fullstory.look(asked)
        taken = self._posts.get(path)
        return taken(asked) if taken else None

    def _put(self, path: str) -> bytes | None:
        found = _PUT.fullmatch(path) or _CUSTOMER.fullmatch(path)
        if found is None:
            return None
        user_id = found[1].encode()
        self.stats.note([user_id])
        return b'{"userID":"%b"}' % user_id

    def _endpoints(self) -> Mapping[str, Callable[[Asked], bytes]]:
        return {
            "/v2/users/batch": self.fullstory.create,
            "/v2/users": self.fullstory.one,
            "/v1/batch": lambda asked: self._noted(_events(asked.body, list_name="batch", id_name="userId")),
            "/batch": lambda asked: self._noted(_events(asked.body, list_name="batch", id_name="distinct_id")),
            "/engage": lambda asked: self._noted(_engaged(asked.body)),
        }

    def _noted(self, user_ids: list[bytes]) -> bytes:
        self.stats.note(user_ids)
        return b'{"status":1,"error":null}'


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--core", type=int)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--quota", type=int, help="requests in any window, GET aside")
    parser.add_argument("--window", type=float, default=60.0, help="its seconds")
    parser.add_argument("--page-size", type=int, default=1000)
    parser.add_argument("--port", type=int, default=0)
    given = parser.parse_args()
    stats = Stats()
    fullstory = Fullstory(stats, given.page_size)
    server = Server(Vendors(stats, fullstory).answer, stats, given.latency, settle=fullstory.settle)
    server.quota = Quota(given.quota, given.window) if given.quota else None
    serve(server, core=given.core, port=given.port)


if __name__ == "__main__":
    main()
