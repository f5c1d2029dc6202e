"""What the benchmarks compute from their measurements; nothing is measured here."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from benchmarks import check, processes, serving
from benchmarks.batch_sink import echo
from benchmarks.before import merge, only_package
from benchmarks.check import Comparison, accept, compare, figures_of, measure_twice
from benchmarks.processes import FailedError, MissingError, environment
from benchmarks.serving import Pace
from benchmarks.tables import Spread, Table

RATIOS: Final = {"CPU": "floor", "ratio": None}


def table(**cpu: float | Spread) -> Table:
    """Return a table with the CPU times of these rows."""
    rows = [{"workload": name, "CPU": value} for name, value in cpu.items()]
    return Table(name="load", title="A load", rows=rows, ratios=RATIOS, floors=("floor",))


class Clock:
    """A clock that only `sleep` moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        """Return the time."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Move the clock."""
        self.now += seconds


def test_echo_shows_the_whole_user() -> None:
    """The response has the id from the path and every field of the body."""
    user = json.loads(echo('a"b', b'{"name":"Ann","traits":{"plan":"pro"}}'))

    assert user == {"id": user["id"], "userID": 'a"b', "name": "Ann", "traits": {"plan": "pro"}}


def test_echo_of_no_fields_is_json() -> None:
    """An empty object leaves the two ids."""
    assert json.loads(echo("u1", b"{}")).keys() == {"id", "userID"}


def test_pace_keeps_responses_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Responses that are all ready leave one after another."""
    clock, pace = Clock(), Pace(0.5)
    monkeypatch.setattr(serving, "time", clock)

    for _ in range(4):
        pace.wait()

    assert clock.now == pytest.approx(101.5, abs=0.05)


def test_pace_saves_no_turns_in_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a pause, responses are as far apart as before."""
    clock, pace = Clock(), Pace(0.5)
    monkeypatch.setattr(serving, "time", clock)
    pace.wait()
    clock.sleep(60)

    pace.wait()
    pace.wait()

    assert clock.now == pytest.approx(160.5, abs=0.05)


def test_figure_is_the_lowest_value_per_floor() -> None:
    """The lowest of all rounds is divided by the lowest of the floor; the floor itself has none."""
    figures = figures_of(table(floor=Spread(2.0, 3.0, 4.0), sync=Spread(8.0, 20.0, 30.0)))

    assert figures == {"load / sync / CPU": 4.0}


def test_figure_without_floor_is_the_ratio() -> None:
    """A column of ratios is taken as it is."""
    figures = figures_of(Table(name="calls", title="", rows=[{"call": "plan", "ratio": 20.0}], ratios={"ratio": None}))

    assert figures == {"calls / plan / ratio": 20.0}


@pytest.mark.parametrize(
    ("now", "kept", "fails"),
    [(1.09, 1.0, False), (1.11, 1.0, True), (0.5, 1.0, False), (2.0, None, False), (None, 1.0, True)],
)
def test_row_fails_above_the_limit(now: float | None, kept: float | None, fails: bool) -> None:  # noqa: FBT001
    """More than 10 % slower fails and so does a missing row; a new row does not."""
    assert Comparison(name="load / sync / CPU", now=now, kept=kept).fails is fails


def test_failure_says_how_to_accept() -> None:
    """The message names the row, both figures and the command."""
    text = str(Comparison(name="load / sync / CPU", now=3.0, kept=2.0))

    assert all(part in text for part in ("load / sync / CPU", "3", "2", "+50%", "make bench-accept"))


def test_only_measured_benchmarks_are_compared() -> None:
    """A figure of a benchmark that did not run is not missing."""
    comparisons = compare({"load / sync / CPU": 1.0}, {"load / gone / CPU": 1.0, "calls / plan / ratio": 1.0}, ["load"])

    assert [(each.name, each.now) for each in comparisons] == [("load / sync / CPU", 1.0), ("load / gone / CPU", None)]


def test_failing_benchmark_is_measured_again() -> None:
    """The lower figure of both measurements counts, and a row that fails once does not fail."""
    runs = {
        "load": iter([{"load / sync / CPU": 1.5}, {"load / sync / CPU": 1.05}]),
        "calls": iter([{"calls / a": 1.0}]),
    }

    figures = measure_twice(["load", "calls"], {"load / sync / CPU": 1.0}, lambda name: next(runs[name]))

    assert figures == {"load / sync / CPU": 1.05, "calls / a": 1.0}


def test_accepting_keeps_other_figures(tmp_path: Path) -> None:
    """Figures of other benchmarks and of other builds of Python stay; those of gone rows do not."""
    path, python = tmp_path / "figures.json", check.python_name()
    kept = {"load / gone / CPU": 1.0, "calls / plan / ratio": 2.0}
    path.write_text(json.dumps({python: kept, "another": kept}), encoding="utf-8")

    accept({"load / sync / CPU": 1.2345}, ["load"], path)

    assert check.load(path) == {python: {"calls / plan / ratio": 2.0, "load / sync / CPU": 1.23}, "another": kept}


def test_kept_figures_are_of_checked_benchmarks() -> None:
    """Nobody would notice figures of a benchmark that was renamed or removed."""
    names = {name.partition(" / ")[0] for figures in check.load().values() for name in figures}

    assert names <= set(check.CHECKED)


def test_row_before_follows_the_row() -> None:
    """Each row of the library is followed by the older one, with the ratio of the lowest figures."""
    merged = merge([table(floor=1.0, sync=5.0), table(floor=1.0, sync=4.0)], [table(floor=1.0, sync=8.0)])

    assert [(row["workload"], row.get("CPU x before")) for row in merged.rows] == [
        ("floor", None),
        ("sync", 0.5),
        ("sync, before", None),
    ]


def test_row_without_a_row_before_stays() -> None:
    """What the older library lacks is left out."""
    merged = merge([table(floor=1.0, sync=5.0)], [])

    assert [row["workload"] for row in merged.rows] == ["floor", "sync"]


def test_older_library_runs_with_these_benchmarks(tmp_path: Path) -> None:
    """The library is taken from the older checkout, and the benchmarks from this one."""
    for name in ("replay_identity", "benchmarks"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    program = "import replay_identity, benchmarks.tables; print(replay_identity.__path__[0], benchmarks.__path__[0])"

    with only_package(tmp_path) as folder:
        command = [sys.executable, "-c", program]
        process = subprocess.run(
            command, capture_output=True, text=True, check=True, env=environment(folder), cwd=folder
        )

        library, benchmarks = map(Path, process.stdout.split())
        assert library.resolve() == tmp_path / "replay_identity"
        assert benchmarks == processes.ROOT / "benchmarks"


def test_folder_without_library_is_named(tmp_path: Path) -> None:
    """The message says what the folder must contain."""
    with pytest.raises(FailedError, match="replay_identity"), only_package(tmp_path):
        pass


def test_missing_name_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A workload that needs a name that the library lacks says so."""
    (tmp_path / "replay_identity").mkdir()
    (tmp_path / "replay_identity" / "__init__.py").touch()
    monkeypatch.setattr(processes, "PACKAGE_FOLDER", tmp_path)

    with pytest.raises(MissingError):
        processes.run("read", path="users.jsonl", core=None)


def test_workload_runs_and_is_timed(tmp_path: Path) -> None:
    """A workload in a process of its own returns its times and its peak memory."""
    path = tmp_path / "users.jsonl"
    path.write_text('{"user_id": "u1"}\n', encoding="utf-8")

    result = processes.run("read", path=str(path), core=None)

    assert result.ended >= result.started
    assert result.peak_mb > 0
