"""Start the processes of a benchmark: a server on the last core, and each workload on the first."""

import importlib.util
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

from benchmarks.workloads import MISSING

ROOT: Final = Path(__file__).parent.parent
# Where this process imports the library from; the workloads take it from there too. Not resolved: it may be a link.
_SPEC: Final = importlib.util.find_spec("replay_identity")
PACKAGE_FOLDER: Final = Path(_SPEC.origin).parent.parent if _SPEC and _SPEC.origin else ROOT
# Created by `benchmarks.peers`. Git ignores it, like every .venv*.
PEERS_PYTHON: Final = ROOT / ".venv-bench" / "bin" / "python"
CLIENT_CORE: Final = 0
SINK_CORE: Final = max((os.cpu_count() or 1) - 1, 0)
_TIMEOUT: Final = 3600.0
_NGINX: Final = """\
worker_processes 1;
pid {folder}/pid;
error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
  log_format requests '$msec $status $uri';
  access_log {folder}/requests.log requests buffer=512k;
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
    """A process of the benchmark failed; the message is what it wrote to stderr."""


class MissingError(FailedError):
    """The library lacks what the workload needs."""


@attrs.frozen(kw_only=True)
class Run:
    """The times and the peak memory of one workload.

    Attributes:
        started: Time on `time.monotonic` when the work started, after the imports.
        ended: Time on `time.monotonic` when the work ended.
        cpu_seconds: CPU time of the work.
        peak_mb: Peak memory of the process in MB.
        exit_seconds: Seconds from the end of the work to the end of the process.
        figures: Further figures of the workload.
    """

    started: float
    ended: float
    cpu_seconds: float
    peak_mb: float
    exit_seconds: float = 0.0
    figures: Mapping[str, Any] = attrs.field(factory=dict[str, Any])

    @property
    def seconds(self) -> float:
        """Return the duration of the work in seconds."""
        return self.ended - self.started


def run(workload: str, **task: Any) -> Run:  # noqa: ANN401  # The fields of a Task.
    """Run one workload in a new process."""
    command = [sys.executable, "-m", "benchmarks.workloads", workload, json.dumps({"core": CLIENT_CORE, **task})]
    process = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env=environment(PACKAGE_FOLDER),
        timeout=_TIMEOUT,
        cwd=PACKAGE_FOLDER,
    )
    exited = time.monotonic()
    if process.returncode == MISSING:
        raise MissingError(process.stderr.strip())
    if process.returncode:
        raise FailedError(process.stderr.strip() or f"{workload} exited with {process.returncode}")

    result = Run(**json.loads(process.stdout.splitlines()[-1]))
    return attrs.evolve(result, exit_seconds=exited - result.ended)


def environment(package_folder: Path) -> dict[str, str]:
    """Return an environment in which any Python imports these benchmarks, and the library from *package_folder*."""
    return {**os.environ, "PYTHONPATH": f"{package_folder}{os.pathsep}{ROOT}"}


@attrs.frozen
class Sink:
    """A running `benchmarks.batch_sink`."""

    url: str

    def stats(self) -> Mapping[str, Any]:
        """Return the counts of its users and requests, and the times of the first and the last."""
        stats: Mapping[str, Any] = httpx.get(f"{self.url}/_stats", timeout=60).json()
        return stats


@contextmanager
def sink(**options: float | None) -> Generator[Sink, None, None]:
    """Run `benchmarks.batch_sink` with *options*; those that are None or 0 are left out."""
    given = {name.replace("_", "-"): value for name, value in options.items() if value}
    arguments = [argument for name, value in given.items() for argument in (f"--{name}", str(value))]
    # That environment has uvloop.
    python = str(PEERS_PYTHON) if has_module("uvloop", "attrs", "orjson") else sys.executable
    command = [python, "-m", "benchmarks.batch_sink", "--core", str(SINK_CORE), *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment(ROOT), cwd=ROOT)
    try:
        port = process.stdout.readline().strip() if process.stdout else ""
        if not port:
            raise FailedError("the sink did not start")
        yield Sink(f"http://127.0.0.1:{port}")
    finally:
        _stop(process)


def has_module(*names: str) -> bool:
    """Return True if the peers' environment exists and can import all *names*."""
    if not PEERS_PYTHON.exists():
        return False
    command = [str(PEERS_PYTHON), "-c", f"import {', '.join(names)}"]
    return subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode == 0


@attrs.frozen
class Nginx:
    """A running nginx that responds to every request with 200."""

    url: str
    log: Path
    process: "subprocess.Popen[str]"

    def stop(self) -> tuple[Sequence[str], float]:
        """Stop nginx, and return the paths of the requests that succeeded and the Unix time of the last request."""
        _stop(self.process)
        lines = [line.split(" ", 2) for line in self.log.read_text().splitlines()]
        # The requests for / only waited until nginx had started.
        requests = [line for line in lines if line[2] != "/"]
        succeeded = [path for _, status, path in requests if status == "200"]
        return succeeded, max((float(seconds) for seconds, *_ in requests), default=0)


@contextmanager
def nginx(port: int) -> Generator[Nginx, None, None]:
    """Run nginx on the sink's core, with its own configuration."""
    program = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
    if program is None:
        raise FailedError("nginx is not installed; run apt-get install -y nginx-light")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "nginx.conf").write_text(_NGINX.format(folder=folder, port=port))
        command = [program, "-p", name, "-c", f"{folder}/nginx.conf", "-e", f"{folder}/error.log", "-g", "daemon off;"]
        process = subprocess.Popen(pinned(command, SINK_CORE), text=True)
        try:
            _wait_for(port)
            yield Nginx(f"http://127.0.0.1:{port}", folder / "requests.log", process)
        finally:
            _stop(process)


def pinned(command: Sequence[str], core: int) -> list[str]:
    """Return *command* restricted to one core, if the system has taskset."""
    taskset = shutil.which("taskset")
    return [taskset, "--cpu-list", str(core), *command] if taskset else list(command)


def _wait_for(port: int) -> None:
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
