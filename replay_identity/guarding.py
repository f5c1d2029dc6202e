"""What an adapter answers is checked, and what it raises is told without its text: one bug must not hide an answer."""

from pathlib import PurePath
from traceback import extract_tb

from .exchange import Exchange
from .outcome import Broken, Outcome


def guarded(backend: str, exchange: Exchange[Outcome]) -> Exchange[Outcome]:
    """Run *exchange* and return its outcome, or `Broken` where it raises or answers none of its own."""
    try:
        return own(backend, (yield from exchange))
    except Exception as error:  # noqa: BLE001  # One adapter's bug must not hide another's answer.
        return broken(backend, error)


def own(backend: str, outcome: object) -> Outcome:
    """Return *outcome* if it is one, and of that *backend*; another one would hide somebody's answer."""
    if isinstance(outcome, Outcome) and outcome.backend == backend:
        return outcome
    return Broken(backend, "the adapter answered no outcome of its own")


def broken(backend: str, error: BaseException) -> Broken:
    """Name the exception's type and place; its text may quote what was sent."""
    frames = extract_tb(error.__traceback__)
    place = f" at {PurePath(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return Broken(backend, f"{type(error).__name__}{place}")
