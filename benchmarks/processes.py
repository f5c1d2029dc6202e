"""Processes to measure: a sink on the last core, and each contestant anew on the first one."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import attrs
import httpx

ROOT: Final = Path(__file__).parent.parent
# Git ignores it, as every .venv*; `benchmarks.peers` makes it.
PEERS_PYTHON: Final = ROOT / ".venv-bench" / "bin" / "python"
CLIENT_CORE: Final = 0
SINK_CORE: Final = max((os.cpu_count() or 1) - 1, 0)
_LONGEST: Final = 3600.0
_NGINX: Final = """\
worker_processes 1;
pid {folder}/pid;
error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
  log_format seen '$msec $status $uri';
  access_log {folder}/seen.log seen buffer=512k;
  client_body_temp_path {folder}/body;
  client_body_buffer_size 64k;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  keepalive_requests 100000000;
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    location / {{ default_type application/json; return 200 '{{"userID":"x"}}'; }}
  }}
}}
"""


class FailedError(Exception):
    """A contestant did not do its work; what it wrote to stderr says why."""


@attrs.frozen(kw_only=True)
class Run:
    """What one contestant took.

    Attributes:
        started: `time.monotonic` at the beginning of the work, after the imports.
        ended: The same at its end.
        processor: Seconds of CPU time in between.
        peak: Most memory of the process, in MB.
        said: What the work returned.
        exit_seconds: How long the process took to end after the work.
    """

    started: float
    ended: float
    processor: float
    peak: float
    said: str
    exit_seconds: float = 0.0

    @property
    def seconds(self) -> float:
        """Return how long the work took."""
        return self.ended - self.started


def environment() -> dict[str, str]:
    """Return an environment in which any Python finds the benchmarks."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def run(contestant: str, **task: Any) -> Run:  # noqa: ANN401  # The fields of a Task.
    """Run one contestant in a new process."""
    command = [sys.executable, "-m", "benchmarks.contestants", contestant, json.dumps({"core": CLIENT_CORE, **task})]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment(), timeout=_LONGEST, cwd=ROOT
    )
    exited = time.monotonic()
    if done.returncode:
        raise FailedError(done.stderr.strip() or f"{contestant} ended with {done.returncode}")
    taken = Run(**json.loads(done.stdout.splitlines()[-1]))
    return attrs.evolve(taken, exit_seconds=exited - taken.ended)


@attrs.frozen
class Sink:
    """A running sink."""

    url: str

    def stats(self) -> Mapping[str, Any]:
        """Return which users it acknowledged and when."""
        stats: Mapping[str, Any] = httpx.get(f"{self.url}/_tally", timeout=60).json()
        return stats


@contextmanager
def sink(**options: float | None) -> Generator[Sink, None, None]:
    """Run `benchmarks.batch_sink`, with its options."""
    words = [word for name, value in options.items() if value for word in (f"--{name.replace('_', '-')}", f"{value}")]
    # uvloop is there.
    python = str(PEERS_PYTHON) if has_module("uvloop", "attrs", "orjson") else sys.executable
    command = [python, "-m", "benchmarks.batch_sink", "--core", str(SINK_CORE), *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment(), cwd=ROOT)
    try:
        port = process.stdout.readline().strip() if process.stdout else ""
        if not port:
            raise FailedError("the sink did not start")
        yield Sink(f"http://127.0.0.1:{port}")
    finally:
        _stop(process)


def has_module(*names: str) -> bool:
    """Tell whether the peers' environment exists and has these modules."""
    if not PEERS_PYTHON.exists():
        return False
    command = [str(PEERS_PYTHON), "-c", f"import {', '.join(names)}"]
    return subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode == 0


@attrs.frozen
class Nginx:
    """A running nginx that says yes to everything."""

    url: str
    log: Path
    process: "subprocess.Popen[str]"

    def stop(self) -> tuple[Sequence[str], float]:
        """End it, and return the paths it acknowledged and the Unix time of the last."""
        _stop(self.process)
        lines = [line.split(" ", 2) for line in self.log.read_text().splitlines()]
        # The first request only asked whether it is there.
        seen = [line for line in lines if line[2] != "/"]
        return [path for _, status, path in seen if status == "200"], max((float(when) for when, *_ in seen), default=0)


@contextmanager
def nginx(port: int) -> Generator[Nginx, None, None]:
    """Run nginx with a configuration of its own on the sink's core."""
    program = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
    if program is None:
        raise FailedError("no nginx: apt-get install -y nginx-light")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "nginx.conf").write_text(_NGINX.format(folder=folder, port=port))
        command = [program, "-p", name, "-c", f"{folder}/nginx.conf", "-e", f"{folder}/error.log", "-g", "daemon off;"]
        process = subprocess.Popen(pinned(command, SINK_CORE), text=True)
        try:
            _await(port)
            yield Nginx(f"http://127.0.0.1:{port}", folder / "seen.log", process)
        finally:
            _stop(process)


def pinned(command: Sequence[str], core: int) -> list[str]:
    """Return *command* kept to one core."""
    taskset = shutil.which("taskset")
    return [taskset, "--cpu-list", str(core), *command] if taskset else list(command)


def _await(port: int) -> None:
    for _ in range(100):
        try:
            httpx.get(f"http://127.0.0.1:{port}/", timeout=1)
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return
    raise FailedError("nginx did not start")


def _stop(process: "subprocess.Popen[str]") -> None:
    process.terminate()
    process.wait()
    if process.stdout:
        process.stdout.close()
