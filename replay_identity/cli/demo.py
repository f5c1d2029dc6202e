"""`replay-identity demo`."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import attrs
import typer

from ..emulator import FullstoryEmulator, LogRocketEmulator, running
from ..fitting import OnViolation
from ..fullstory import Fullstory
from ..logrocket import LogRocket
from ..router import Router
from ..sources import read_users
from . import options
from .emulate import FULLSTORY_KEY, LOGROCKET_KEY
from .output import data, print_json, talk
from .progress import progress
from .survey import Survey
from .tables import print_survey

SAMPLE: Final = Path(__file__).with_name("samples") / "users.jsonl"


@attrs.frozen
class Stage:
    """Both emulators, and a router that sends to them."""

    fullstory: FullstoryEmulator
    logrocket: LogRocketEmulator
    router: Router

    def held(self) -> Mapping[str, int]:
        """Return how many users each vendor holds."""
        return {"fullstory": len(self.fullstory.users), "logrocket": len(self.logrocket.users)}


def demo(*, adapt: options.AdaptOption = False, json: options.JsonOption = False) -> None:
    """Send a messy file of users to both vendors, emulated on this machine, and show what became of them."""
    talk().print("Sending a messy file of users to emulators of Fullstory and LogRocket …", style="dim")
    survey = Survey()
    with _stage("adapt" if adapt else "reject") as stage, progress("identified") as advance:
        rows = read_users(SAMPLE, anonymous=True)
        survey.run(rows, lambda user: stage.router.identify(user).outcomes, lambda _row, _outcomes: advance())
        held = stage.held()
    if json:
        print_json({**survey.as_dict(), "on_violation": "adapt" if adapt else "reject", "held": held})
    else:
        _print_demo(survey, held, adapt=adapt)
    # Refused users are what the demo shows; only a survey that ended early is none.
    raise typer.Exit(survey.code or 0)


@contextmanager
def _stage(on_violation: OnViolation) -> Generator[Stage]:
    fullstory, logrocket = FullstoryEmulator(), LogRocketEmulator()
    with running(fullstory) as fullstory_server, running(logrocket) as logrocket_server:
        backends = (
            Fullstory(FULLSTORY_KEY, base_url=fullstory_server.url, on_violation=on_violation),
            LogRocket(LOGROCKET_KEY, base_url=logrocket_server.url, on_violation=on_violation),
        )
        with Router(backends) as router:
            yield Stage(fullstory, logrocket, router)


def _print_demo(survey: Survey, held: Mapping[str, int], *, adapt: bool) -> None:
    console = data()
    print_survey(console, survey)
    told = ", ".join(f"{vendor} holds {users:,} users" for vendor, users in held.items())
    console.print(f"Read back: {told}, as some users stand in the file twice.")
    other = (
        "Without --adapt, whoever breaks a limit is refused."
        if adapt
        else "With --adapt, what breaks a limit is mended, with the loss on record."
    )
    talk().print(other, style="dim")
