"""`replay-identity emulate`."""

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
from ..sources import read_users
from . import options
from .progress import progress
from .row_report import RowReport
from .tables import print_row_report
from .terminal import print_json, stderr_console, stdout_console

# The keys that the emulators know.
FULLSTORY_KEY = "na1.emulator"
LOGROCKET_KEY = "acme:shop:emulator"

Port: TypeAlias = Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 is any free one.")]


def emulate(
    *,
    fullstory_port: Port = 8801,
    logrocket_port: Port = 8802,
    rate_limit: Annotated[
        int | None, typer.Option(min=1, help="Requests a second, over which an emulator answers 429.")
    ] = None,
    json: options.JsonOption = False,
) -> None:
    """Run fake vendors on this machine until Ctrl-C, and print the settings that point at them."""
    limit = None if rate_limit is None else RateLimit(requests=rate_limit)
    apps = (
        (FullstoryEmulator(rate_limit=limit), fullstory_port),
        (LogRocketEmulator(rate_limit=limit), logrocket_port),
    )

    def on_ready(urls: Sequence[str]) -> None:
        _print_settings(_settings(*urls), json=json)

    try:
        serve(apps, on_ready=on_ready)
    except PortInUseError as error:
        raise typer.BadParameter(str(error), param_hint="--fullstory-port, --logrocket-port") from error


def _settings(fullstory_url: str, logrocket_url: str) -> dict[str, str]:
    return {
        "FULLSTORY_BASE_URL": fullstory_url,
        "FULLSTORY_API_KEY": FULLSTORY_KEY,
        "LOGROCKET_BASE_URL": logrocket_url,
        "LOGROCKET_API_KEY": LOGROCKET_KEY,
    }


def _print_settings(settings: dict[str, str], *, json: bool) -> None:
    stderr_console().print("Emulators of Fullstory and LogRocket are listening; Ctrl-C ends them.", style="green")
    if json:
        print_json(settings)
        return
    console = stdout_console()
    for name, value in settings.items():
        console.print(f"export {name}={value}", soft_wrap=True)
    console.file.flush()


SAMPLE: Final = Path(__file__).with_name("samples") / "users.jsonl"


@attrs.frozen
class DemoSetup:
    """Both emulators, and a router that sends to them."""

    fullstory: FullstoryEmulator
    logrocket: LogRocketEmulator
    router: Router

    def held(self) -> Mapping[str, int]:
        """Return how many users each vendor holds."""
        return {"fullstory": len(self.fullstory.users), "logrocket": len(self.logrocket.users)}


def demo(*, adapt: options.AdaptOption = False, json: options.JsonOption = False) -> None:
    """Send a messy file of users to both vendors, emulated on this machine, and show what became of them."""
    stderr_console().print("Sending a messy file of users to emulators of Fullstory and LogRocket …", style="dim")
    row_report = RowReport()
    with _set_up("adapt" if adapt else "reject") as stage, progress("identified") as advance:
        rows = read_users(SAMPLE, anonymous=True)
        row_report.run(rows, lambda user: stage.router.identify(user).outcomes, lambda _row, _outcomes: advance())
        held = stage.held()
    if json:
        print_json({**row_report.as_dict(), "on_violation": "adapt" if adapt else "reject", "held": held})
    else:
        _print_demo(row_report, held, adapt=adapt)
    # Refused users are what the demo shows; only a survey that ended early is none.
    raise typer.Exit(row_report.code or 0)


@contextmanager
def _set_up(on_violation: OnViolation) -> Generator[DemoSetup]:
    fullstory, logrocket = FullstoryEmulator(), LogRocketEmulator()
    with running(fullstory) as fullstory_server, running(logrocket) as logrocket_server:
        backends = (
            Fullstory(FULLSTORY_KEY, base_url=fullstory_server.url, on_violation=on_violation),
            LogRocket(LOGROCKET_KEY, base_url=logrocket_server.url, on_violation=on_violation),
        )
        with Router(backends) as router:
            yield DemoSetup(fullstory, logrocket, router)


def _print_demo(row_report: RowReport, held: Mapping[str, int], *, adapt: bool) -> None:
    console = stdout_console()
    print_row_report(console, row_report)
    told = ", ".join(f"{vendor} holds {users:,} users" for vendor, users in held.items())
    console.print(f"Read back: {told}, as some users stand in the file twice.")
    other = (
        "Without --adapt, whoever breaks a limit is refused."
        if adapt
        else "With --adapt, what breaks a limit is mended, with the loss on record."
    )
    stderr_console().print(other, style="dim")
