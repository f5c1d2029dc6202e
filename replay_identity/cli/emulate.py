"""`replay-identity emulate`."""

from collections.abc import Sequence
from typing import Annotated, TypeAlias

import typer

from ..emulator import FullstoryEmulator, LogRocketEmulator, PortInUseError, RateLimit, serve
from . import options
from .output import data, print_json, talk

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
    talk().print("Emulators of Fullstory and LogRocket are listening; Ctrl-C ends them.", style="green")
    if json:
        print_json(settings)
        return
    console = data()
    for name, value in settings.items():
        console.print(f"export {name}={value}", soft_wrap=True)
    console.file.flush()
