"""How far a run is: what is computed, and how it is shown."""

import io

import pytest
from rich.console import Console

from replay_identity.bulk import Progress
from replay_identity.cli.progress import ProgressDisplay, ProgressLine, Throughput, duration, progress_display


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Say so."""
        return True


class Clock:
    """A clock that goes as the test says."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Return the moment."""
        return self.now


def test_the_speed_is_that_of_the_last_while() -> None:
    """What was long ago says nothing about when it ends."""
    speed = Throughput()
    speeds: list[float | None] = []

    for moment, count in ((0.0, 0), (2.9, 90), (10.0, 100), (40.0, 100), (50.0, 160)):
        speed.mark(moment, count)
        speeds.append(speed.per_second)

    assert speeds == [None, None, 10.0, 0.0, 1.5]


@pytest.mark.parametrize(("seconds", "told"), [(0, "0:00:00"), (0.2, "0:00:01"), (90061, "1 day, 1:01:01")])
def test_a_length_of_time_is_rounded_up(seconds: float, told: str) -> None:
    """Nobody is promised too much."""
    assert duration(seconds) == told


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (ProgressLine(Progress("a", 7, 5), None, 2.0), "a: 5 users, 2 users/s"),
        (ProgressLine(Progress("a", 2000, 1000), 2000, 10.0), "a: 1,000 of 2,000 users, 10 users/s, 0:01:40 left"),
        (ProgressLine(Progress("a", 7, 5), 7, 0.0), "a: 5 of 7 users, 0 users/s"),
        (ProgressLine(Progress("a", 7, 5), 7, None), "a: 5 of 7 users"),
        (ProgressLine(Progress("a", 7, 7), 7, 2.0), "a: 7 of 7 users"),
        (
            ProgressLine(Progress("a", 7, 5, "9 s after HTTP 429"), None, 0.0),
            "a: 5 users, 0 users/s, waits for 9 s after HTTP 429",
        ),
        (ProgressLine(Progress("a", 7, 5, "a job", "HTTP 401"), None, 0.0), "a: 5 users, 0 users/s, HTTP 401"),
    ],
)
def test_a_line_says_how_far_a_backend_is(line: ProgressLine, told: str) -> None:
    """The whole, and when it ends, are told once they are known; a problem rather than what is waited for."""
    assert str(line) == told


def test_a_log_gets_lines_every_ten_seconds() -> None:
    """And not several times a second."""
    clock, stream = Clock(), io.StringIO()
    watch = ProgressDisplay(Console(file=stream, width=80), None, clock)
    rows = watch.counted(["r1", "r2"])

    next(rows)
    for clock.now in (0.2, 9.9, 10.0, 10.2):
        watch.tell([Progress("a", 5, int(clock.now))])

    assert stream.getvalue() == "1 row read so far\na: 10 users, 1 users/s\n"


def test_the_end_is_told_too() -> None:
    """However soon it comes; without rows to read, the whole is known at once."""
    stream = io.StringIO()

    with progress_display(Console(file=stream, width=80)) as watch:
        watch.tell([Progress("a", 5, 5)])

    assert stream.getvalue() == "a: 5 of 5 users\n"


def test_a_terminal_gets_a_display_that_goes_away() -> None:
    """With a line for the rows, and one for each backend."""
    stream = Terminal()

    with progress_display(Console(file=stream, width=120, force_terminal=True)) as watch:
        assert list(watch.counted(["r1"])) == ["r1"]
        watch.tell([Progress("acme", 4, 1, status_text="1 job"), Progress("other", 4, 4, problem="HTTP 401")])
        shown = stream.getvalue()

    for word in ("1 row read", "acme", "1 of 4 users", "waits for 1 job", "━", "other", "HTTP 401"):
        assert word in shown
    assert stream.getvalue().endswith("\x1b[2K")


def test_what_is_waited_for_is_whole_on_a_narrow_terminal() -> None:
    """It has a line of its own."""
    stream = Terminal()

    with progress_display(Console(file=stream, width=60, force_terminal=True)) as watch:
        watch.tell([Progress("acme", 2_000_000, 1_000_000, status_text="9 s after the vendor could not be reached")])

        assert "acme waits for 9 s after the vendor could not be reached" in stream.getvalue()


def test_nothing_is_told_of_a_run_that_has_not_begun() -> None:
    """As where there is no such file."""
    stream = io.StringIO()

    with progress_display(Console(file=stream, width=80)) as watch:
        watch.counted(["r1"])

    assert not stream.getvalue()


def test_a_terminal_is_not_told_of_rows_where_none_are_read() -> None:
    """As when what an outage left is delivered."""
    stream = Terminal()

    with progress_display(Console(file=stream, width=120, force_terminal=True)) as watch:
        watch.tell([Progress("acme", 4, 1)])

    assert "read" not in stream.getvalue()


def test_colours_that_are_forced_make_no_terminal() -> None:
    """Many a CI sets FORCE_COLOR."""
    stream = io.StringIO()

    with progress_display(Console(file=stream, width=80, force_terminal=True, highlight=False)) as watch:
        watch.tell([Progress("acme", 4, 1)])

    assert stream.getvalue() == "acme: 1 of 4 users\n"
