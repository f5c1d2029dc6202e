"""`replay-identity emulate` and `demo`."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final, TypeAlias

import attrs
import typer

from ..adapters.adaptation import OnViolation
from ..emulator import FullstoryEmulator, LogRocketEmulator, PortInUseError, RateLimit, running, serve
from ..fullstory import Fullstory
from ..logrocket import LogRocket
from ..router import Router
from . import options
from .inputs import read_rows
from .progress import spinner
from .row_report import RowReport
from .tables import print_row_report
from .terminal import print_json, stderr_console, stdout_console

# Keys that the emulators accept.
FULLSTORY_KEY: Final = "na1.emulator"
LOGROCKET_KEY: Final = "acme:shop:emulator"
SAMPLE_FILE: Final = Path(__file__).with_name("samples") / "users.jsonl"

Port: TypeAlias = Annotated[
    int, typer.Option(metavar="PORT", min=0, max=65535, help="Port to listen on; 0 for any free port.")
]


def emulate_command(
    *,
    fullstory_port: Port = 8801,
    logrocket_port: Port = 8802,
    rate_limit: Annotated[
        int | None,
        typer.Option(metavar="COUNT", min=1, help="Requests per second above which an emulator answers 429."),
    ] = None,
    json: options.JsonOption = False,
) -> None:
    """Run fake vendors on this machine until Ctrl-C, and print the settings to use them."""
    limit = None if rate_limit is None else RateLimit(requests=rate_limit)
    apps = (
        (FullstoryEmulator(rate_limit=limit), fullstory_port),
        (LogRocketEmulator(rate_limit=limit), logrocket_port),
    )

    def on_ready(urls: Sequence[str]) -> None:
        _print_environment(_environment(*urls), json=json)

    try:
        serve(apps, on_ready=on_ready)
    except PortInUseError as error:
        raise typer.BadParameter(str(error), param_hint="--fullstory-port, --logrocket-port") from error


def demo_command(*, adapt: options.AdaptOption = False, json: options.JsonOption = False) -> None:
    """Send a messy sample file to both vendors, emulated on this machine, and show the outcomes."""
    on_violation: OnViolation = "adapt" if adapt else "reject"
    stderr_console().print("Sending a messy sample file to emulators of Fullstory and LogRocket …", style="dim")
    report = RowReport()
    with _demo_setup(on_violation) as demo, spinner("identified") as advance:
        rows = read_rows([str(SAMPLE_FILE)], options.SourceOptions(), anonymous=True)
        report.run(rows, lambda user: demo.router.identify(user).outcomes, lambda _row, _outcomes: advance())
        stored = demo.stored_users()
    if json:
        print_json({**report.as_dict(), "on_violation": on_violation, "stored": stored})
    else:
        _print_demo(report, stored, adapt=adapt)
    # Rejected users are expected here; only an early stop is not.
    raise typer.Exit(report.code or 0)


def _environment(fullstory_url: str, logrocket_url: str) -> dict[str, str]:
    return {
        "FULLSTORY_BASE_URL": fullstory_url,
        "FULLSTORY_API_KEY": FULLSTORY_KEY,
        "LOGROCKET_BASE_URL": logrocket_url,
        "LOGROCKET_API_KEY": LOGROCKET_KEY,
    }


def _print_environment(environment: dict[str, str], *, json: bool) -> None:
    stderr_console().print("Emulators of Fullstory and LogRocket are running; press Ctrl-C to stop.", style="green")
    if json:
        print_json(environment)
        return
    console = stdout_console()
    for name, value in environment.items():
        console.print(f"export {name}={value}", soft_wrap=True)
    console.file.flush()


@attrs.frozen
class DemoSetup:
    """Both emulators, and a router that sends to them."""

    fullstory: FullstoryEmulator
    logrocket: LogRocketEmulator
    router: Router

    def stored_users(self) -> Mapping[str, int]:
        """Return the number of users that each emulator stores."""
        return {"fullstory": len(self.fullstory.users), "logrocket": len(self.logrocket.users)}


@contextmanager
def _demo_setup(on_violation: OnViolation) -> Generator[DemoSetup]:
    fullstory, logrocket = FullstoryEmulator(), LogRocketEmulator()
    with running(fullstory) as fullstory_server, running(logrocket) as logrocket_server:
        backends = (
            Fullstory(FULLSTORY_KEY, base_url=fullstory_server.url, on_violation=on_violation),
            LogRocket(LOGROCKET_KEY, base_url=logrocket_server.url, on_violation=on_violation),
        )
        with Router(backends) as router:
            yield DemoSetup(fullstory, logrocket, router)


def _print_demo(report: RowReport, stored: Mapping[str, int], *, adapt: bool) -> None:
    console = stdout_console()
    print_row_report(console, report)
    counts = ", ".join(f"{vendor} {users:,}" for vendor, users in stored.items())
    console.print(f"Stored users: {counts}. Some rows are about the same user.")
    advice = (
        "Without --adapt, users with such traits are rejected."
        if adapt
        else "With --adapt, traits that exceed a limit are adapted instead."
    )
    stderr_console().print(advice, style="dim")
