"""Compare HTTP clients at sending one user per request: `python benchmarks/http_clients.py`.

Each run is a process of its own on the first core. The server on the last core is nginx, or one that takes 50 ms for
each response. The clients alternate, and the medians over the rounds are printed. Clients that are not installed are
named and skipped. This needs nginx on the PATH. The results are in docs/explanation/http-clients.md.
"""

import argparse
import asyncio
import importlib
import importlib.util
import json
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import attrs

from replay_identity.adapters import Request
from replay_identity.transport import ConcurrentSender

BODY = json.dumps({"name": "Ann Example", "email": "ann@example.com", "traits": {"note": "x" * 230}}).encode()
HEADERS = {"authorization": "token key", "content-type": "application/json"}
RESPONSE_BODY = '{"id":"7449164135934483470","userID":"u1","name":"Ann","traits":{}}'
LATENCY = 0.05
NGINX = """
worker_processes 1; daemon off; pid nginx.pid; error_log stderr crit;
events {{ worker_connections 1024; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 600s;
  client_body_temp_path t; proxy_temp_path t; fastcgi_temp_path t; uwsgi_temp_path t; scgi_temp_path t;
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    location / {{ default_type application/json; return 200 '{body}'; }}
  }}
}}
"""


@attrs.define
class Run:
    """One run of one client.

    Attributes:
        url: Base URL of the server.
        connections: Number of connections.
        deadline: Time on `time.perf_counter` at which the client stops.
        succeeded: Number of responses with 200.
    """

    url: str
    connections: int
    deadline: float
    succeeded: int = 0

    def users(self, worker: int = 0) -> Generator[str, None, None]:
        """Yield the URL of one user after another until the deadline."""
        number = 0
        while time.perf_counter() < self.deadline:
            yield f"{self.url}/v1/orgs/org/apps/app/users/usr_{worker}_{number}"
            number += 1

    def in_threads(self, send: Callable[[str], int]) -> None:
        """Call *send*, which returns the status, from one thread per connection."""
        counts: list[int] = []

        def work(worker: int) -> None:
            counts.append(sum(send(url) == 200 for url in self.users(worker)))  # noqa: PLR2004  # OK.

        threads = [threading.Thread(target=work, args=(worker,)) for worker in range(self.connections)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.succeeded = sum(counts)

    async def in_tasks(self, send: Callable[[str], Awaitable[int]]) -> None:
        """Await *send*, which returns the status, in one task per connection."""

        async def work(worker: int) -> None:
            for url in self.users(worker):
                status = await send(url)
                self.succeeded += status == 200  # noqa: PLR2004  # OK.

        await asyncio.gather(*(work(worker) for worker in range(self.connections)))

    def with_sender(self, sender: ConcurrentSender) -> None:
        """Keep one request per connection in flight."""
        in_flight = 0
        for url in self.users():
            sender.submit(in_flight, Request("identify", "PUT", url, HEADERS, BODY), 30.0)
            in_flight += 1
            if in_flight == self.connections:
                in_flight -= self._receive(sender)
        while in_flight:
            in_flight -= self._receive(sender)
        sender.close()

    def _receive(self, sender: ConcurrentSender) -> int:
        responses = sender.completed(30.0)
        self.succeeded += sum(response.status == 200 for _, response in responses)  # noqa: PLR2004  # OK.
        return len(responses)


def curl_sender(run: Run) -> None:
    """Measure this library's sender over libcurl."""
    from replay_identity.transport.curl_sender import CurlSender  # noqa: PLC0415  # Loads only the measured client.

    run.with_sender(CurlSender(run.connections))


def thread_sender(run: Run) -> None:
    """Measure this library's sender over httpx in threads."""
    from replay_identity.transport.thread_sender import ThreadSender  # noqa: PLC0415  # As above.

    run.with_sender(ThreadSender(run.connections))


def _library(name: str) -> Any:  # noqa: ANN401  # Not installed here, so untyped.
    """Import a client that the project does not depend on."""
    return importlib.import_module(name)


def httpx_async(run: Run) -> None:
    """Measure httpx as its documentation recommends: one client, many tasks."""
    httpx = _library("httpx")

    async def main() -> None:
        limits = httpx.Limits(max_connections=run.connections, max_keepalive_connections=run.connections)
        async with httpx.AsyncClient(limits=limits, timeout=30.0) as client:

            async def send(url: str) -> int:
                return int((await client.put(url, headers=HEADERS, content=BODY)).status_code)

            await run.in_tasks(send)

    asyncio.run(main())


def aiohttp(run: Run) -> None:
    """Measure aiohttp: one session, many tasks."""
    library = _library("aiohttp")

    async def main() -> None:
        async with library.ClientSession(connector=library.TCPConnector(limit=run.connections)) as session:

            async def send(url: str) -> int:
                async with session.put(url, headers=HEADERS, data=BODY) as response:
                    await response.read()
                    return int(response.status)

            await run.in_tasks(send)

    asyncio.run(main())


def pyreqwest(run: Run) -> None:
    """Measure pyreqwest, blocking: one client, many threads."""
    builder = _library("pyreqwest.client").SyncClientBuilder()
    with builder.max_connections(run.connections).build() as client:

        def send(url: str) -> int:
            response = client.put(url).headers(HEADERS).body_bytes(BODY).build().send()
            response.bytes()
            return int(response.status)

        run.in_threads(send)


def niquests(run: Run) -> None:
    """Measure niquests: one session per thread."""
    library, local = _library("niquests"), threading.local()

    def send(url: str) -> int:
        if not hasattr(local, "session"):
            local.session = library.Session()
        return int(local.session.put(url, headers=HEADERS, data=BODY).status_code)

    run.in_threads(send)


def curl_cffi(run: Run) -> None:
    """Measure curl_cffi, which uses libcurl too: one session, many tasks."""
    library = _library("curl_cffi.requests")

    async def main() -> None:
        async with library.AsyncSession(max_clients=run.connections) as session:

            async def send(url: str) -> int:
                return int((await session.put(url, headers=HEADERS, data=BODY)).status_code)

            await run.in_tasks(send)

    asyncio.run(main())


# Each client's name, the module that it needs, and the function that runs it.
CLIENTS: dict[str, tuple[str, Callable[[Run], None]]] = {
    "CurlSender (pycurl)": ("pycurl", curl_sender),
    "pyreqwest, threads": ("pyreqwest", pyreqwest),
    "aiohttp": ("aiohttp", aiohttp),
    "curl_cffi, asyncio": ("curl_cffi", curl_cffi),
    "niquests, threads": ("niquests", niquests),
    "ThreadSender (httpx)": ("httpx", thread_sender),
    "httpx, asyncio": ("httpx", httpx_async),
}
BASE = "httpx, asyncio"


def measure(name: str, url: str, connections: int, seconds: float) -> None:
    """Run one client in this process, and print its requests per second and its CPU time per request in µs."""
    _, send = CLIENTS[name]
    send(Run(url, 1, time.perf_counter() + 0.2))  # Warms up: imports, certificates.
    started, cpu = time.perf_counter(), time.process_time()
    run = Run(url, connections, started + seconds)
    send(run)
    seconds_taken, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu
    print(json.dumps([run.succeeded / seconds_taken, cpu_seconds / max(run.succeeded, 1) * 1e6]))


def pinned(core: int) -> list[str]:
    """Return the prefix that restricts a command to one core, empty if the system has no taskset."""
    return ["taskset", "-c", str(core)] if shutil.which("taskset") else []


def measure_in_process(name: str, url: str, connections: int, seconds: float) -> tuple[float, float] | None:
    """Run `measure` in a new process and return what it prints, or None if it fails."""
    command = [*pinned(0), sys.executable, __file__, "--one", name, url, str(connections), str(seconds)]
    process = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds + 60)
    if process.returncode:
        error = process.stderr.strip().splitlines()[-1:]
        print(f"  {name} at {connections} connections failed: {error}", file=sys.stderr)
        return None

    rate, cpu = json.loads(process.stdout)
    return rate, cpu


def free_port() -> int:
    """Return a free port of the loopback interface."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


@contextmanager
def background(command: list[str], port: int) -> Generator[str, None, None]:
    """Run a server on the last core during the block, and yield its URL."""
    process = subprocess.Popen([*pinned((os.cpu_count() or 1) - 1), *command])
    try:
        for _ in range(100):
            with socket.socket() as attempt:
                if attempt.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


@contextmanager
def nginx() -> Generator[str, None, None]:
    """Run nginx, which responds at once, with its own configuration."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "nginx.conf").write_text(NGINX.format(port=port, body=RESPONSE_BODY))
        with background(["nginx", "-p", folder, "-c", "nginx.conf"], port) as url:
            yield url


async def serve_slowly(port: int) -> None:
    """Serve until killed, with the latency of a distant vendor."""
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(RESPONSE_BODY)}\r\n\r\n"
    response = f"{head}{RESPONSE_BODY}".encode()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
                await reader.readexactly(length)
                await asyncio.sleep(LATENCY)
                writer.write(response)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


def slow_server() -> AbstractContextManager[str]:
    """Run a server that takes 50 ms for each response."""
    port = free_port()
    return background([sys.executable, __file__, "--slow", str(port)], port)


def installed() -> list[str]:
    """Return the names of the installed clients, and print the names of the others."""
    names: list[str] = []
    for name, (module, _) in CLIENTS.items():
        if importlib.util.find_spec(module):
            names.append(name)
        else:
            print(f"{name}: skipped, {module} is not installed")
    return names


def compare(rounds: int, seconds: float) -> None:
    """Print a table per server: median rates by number of connections, and CPU time and ratio at the highest number."""
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {rounds} rounds of {seconds} s")
    names = installed()
    with nginx() as fast_url, slow_server() as slow_url:
        for title, url, connections in [
            ("nginx, 0 ms", fast_url, [1, 10, 50]),
            (f"{LATENCY * 1000:.0f} ms", slow_url, [10, 50]),
        ]:
            results: dict[tuple[str, int], list[tuple[float, float]]] = {}
            for _ in range(rounds):
                for width in connections:
                    for name in names:
                        if (result := measure_in_process(name, url, width, seconds)) is not None:
                            results.setdefault((name, width), []).append(result)
            print(f"\n| {title} | " + " | ".join(f"req/s at {width}" for width in connections), end="")
            print(f" | CPU µs at {connections[-1]} | ratio to {BASE} |")
            print("|---|" + "---|" * (len(connections) + 2))
            for name in names:
                print_row(name, connections, results)


def print_row(name: str, connections: list[int], results: dict[tuple[str, int], list[tuple[float, float]]]) -> None:
    """Print the medians of one client."""

    def median(client: str, width: int, index: int) -> float:
        values = [result[index] for result in results.get((client, width), [])]
        return statistics.median(values) if values else float("nan")

    rates = " | ".join(f"{median(name, width, 0):,.0f}" for width in connections)
    last = connections[-1]
    ratio = median(name, last, 0) / median(BASE, last, 0)
    print(f"| {name} | {rates} | {median(name, last, 1):,.0f} | {ratio:.1f} |", flush=True)


def main() -> None:
    """Compare the clients; in a process that `compare` started, run one client or the slow server."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--slow", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.slow:
        asyncio.run(serve_slowly(arguments.slow))
    elif arguments.one:
        name, url, connections, seconds = arguments.one
        measure(name, url, int(connections), float(seconds))
    elif shutil.which("nginx") is None:
        sys.exit("nginx is not on the PATH; install it, e.g. apt-get install -y nginx-light")
    else:
        compare(arguments.rounds, arguments.seconds)


if __name__ == "__main__":
    main()
