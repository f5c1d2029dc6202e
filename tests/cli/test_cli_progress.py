"""The progress of bulk runs."""

import io

import pytest
from rich.console import Console
from support.clock import Clock

from replay_identity.bulk import Progress
from replay_identity.cli.progress import ProgressDisplay, ProgressLine, Throughput, format_duration, progress_display
from replay_identity.sources import Rows


class Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self) -> bool:
        """Return True."""
        return True


def test_throughput_covers_a_recent_window() -> None:
    """Older samples do not count, and a short time gives no rate."""
    throughput = Throughput()
    rates: list[float | None] = []

    for now, count in ((0.0, 0), (2.9, 90), (10.0, 100), (40.0, 100), (50.0, 160)):
        throughput.record(now, count)
        rates.append(throughput.per_second)

    assert rates == [None, None, 10.0, 0.0, 1.5]


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00:00"), (0.2, "0:00:01"), (90061, "1 day, 1:01:01")])
def test_durations_are_rounded_up(seconds: float, text: str) -> None:
    """An estimate does not promise too much."""
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (ProgressLine(Progress("a", 7, 5), None, 2.0), "a: 5 users, 2 users/s"),
        (ProgressLine(Progress("a", 2000, 1000), 2000, 10.0), "a: 1,000 of 2,000 users, 10 users/s, 0:01:40 left"),
        (ProgressLine(Progress("a", 7, 5), 7, 0.0), "a: 5 of 7 users, 0 users/s"),
        (ProgressLine(Progress("a", 7, 5), 7, None), "a: 5 of 7 users"),
        (ProgressLine(Progress("a", 7, 7), 7, 2.0), "a: 7 of 7 users"),
        (
            ProgressLine(Progress("a", 7, 5, "9 s after HTTP 429"), None, 0.0),
            "a: 5 users, 0 users/s, waiting for 9 s after HTTP 429",
        ),
        (ProgressLine(Progress("a", 7, 5, "a job", "HTTP 401"), None, 0.0), "a: 5 users, 0 users/s, HTTP 401"),
    ],
)
def test_a_line_shows_what_is_known(line: ProgressLine, text: str) -> None:
    """The total and the time left are shown once they are known; a problem replaces the status."""
    assert str(line) == text


def test_a_log_gets_a_line_every_ten_seconds() -> None:
    """Updates arrive several times per second."""
    clock, stream = Clock(0.0), io.StringIO()
    display = ProgressDisplay(Console(file=stream, width=80), None, clock)
    rows = display.count(Rows(iter(["r1", "r2"])))

    next(rows)
    for clock.now in (0.2, 9.9, 10.0, 10.2):
        display.update([Progress("a", 5, int(clock.now))])

    assert stream.getvalue() == "1 row read so far\na: 10 users, 1 users/s\n"


def test_the_last_progress_is_printed_at_the_end() -> None:
    """Without rows to read, the total is known at once."""
    stream = io.StringIO()

    with progress_display(Console(file=stream, width=80)) as display:
        display.update([Progress("a", 5, 5)])

    assert stream.getvalue() == "a: 5 of 5 users\n"


def test_a_terminal_gets_a_transient_display() -> None:
    """It has a line for the rows and one for each backend."""
    stream = Terminal()

    with progress_display(Console(file=stream, width=120, force_terminal=True)) as display:
        assert list(display.count(Rows(iter(["r1"])))) == ["r1"]
        display.update([Progress("acme", 4, 1, status_text="1 job"), Progress("other", 4, 4, problem="HTTP 401")])
        shown = stream.getvalue()

    for word in ("1 row read", "acme", "1 of 4 users", "waiting for 1 job", "━", "other", "HTTP 401"):
        assert word in shown
    assert stream.getvalue().endswith("\x1b[2K")


def test_a_narrow_terminal_shows_the_whole_status() -> None:
    """The status has a line of its own."""
    stream = Terminal()

    with progress_display(Console(file=stream, width=60, force_terminal=True)) as display:
        display.update([Progress("acme", 2_000_000, 1_000_000, "9 s after the vendor could not be reached")])

        assert "acme: waiting for 9 s after the vendor could not be reached" in stream.getvalue()


def test_a_run_that_never_started_prints_nothing() -> None:
    """For example, the file is missing."""
    stream = io.StringIO()

    with progress_display(Console(file=stream, width=80)) as display:
        display.count(Rows(iter(["r1"])))

    assert not stream.getvalue()


def test_a_delivery_shows_no_rows() -> None:
    """`deliver` reads no rows."""
    stream = Terminal()

    with progress_display(Console(file=stream, width=120, force_terminal=True)) as display:
        display.update([Progress("acme", 4, 1)])

    assert "read" not in stream.getvalue()


def test_forced_colours_do_not_make_a_terminal() -> None:
    """CI systems often set FORCE_COLOR."""
    stream = io.StringIO()

    with progress_display(Console(file=stream, width=80, force_terminal=True, highlight=False)) as display:
        display.update([Progress("acme", 4, 1)])

    assert stream.getvalue() == "acme: 1 of 4 users\n"


def test_ids_are_counted_before_the_rows() -> None:
    """A large file takes a while; then the rows are counted."""
    stream = Terminal()

    with progress_display(Console(file=stream, width=120, force_terminal=True)) as display:
        rows = display.count(Rows(iter(["r1"]), lambda: iter(["u1", "u2"])))
        list(rows.read_ids())
        display.update([Progress("acme", 0, 0)])
        assert "looking for repeated users: 2 ids read so far" in stream.getvalue()
        next(rows)
        display.update([Progress("acme", 1, 0)])
        assert "1 row read so far" in stream.getvalue()
