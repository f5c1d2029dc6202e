"""Runs whose users are rows from Python."""

import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, cast

import pytest
import sqlalchemy
from support.in_process import World, assert_closed

from replay_identity import (
    ConfigurationError,
    Fullstory,
    SourceError,
    UserTraits,
    dry_run,
    read_rows,
    read_users,
    sync,
)
from replay_identity.bulk import check
from replay_identity.mapping import RowMapping
from replay_identity.sources import BadRow, Row, infer_mapping

# Without type stubs, and imported once.
pd: Any = importlib.import_module("pandas")
pl: Any = importlib.import_module("polars")
pa: Any = importlib.import_module("pyarrow")

# The last row about a user wins, and one row has no id.
ROWS: Final = [
    {"user_id": "u1", "plan": "free"},
    {"user_id": "u2", "plan": "pro"},
    {"user_id": None, "plan": "pro"},
    {"user_id": "u1", "plan": "pro"},
]
STORED: Final = {"u1": {"plan": "pro"}, "u2": {"plan": "pro"}}

kinds = pytest.mark.parametrize("make", [list, tuple, pd.DataFrame, pl.DataFrame, pa.Table.from_pylist])


@kinds
def test_syncs_rows_that_can_be_read_twice(world: World, make: Callable[[Any], Any]) -> None:
    """All rows about a user are merged before anything is sent."""
    report = world.sync(make(ROWS))

    world.assert_stored(STORED)
    assert_closed(report)
    assert (report.rows, report.bad_row_count) == (4, 1)
    assert [row.line for row in report.bad_rows] == [3]
    assert [backend.accepted for backend in report.backends] == [2, 2]
    assert world.fullstory.total_applied == 2


@kinds
def test_syncs_rows_without_a_ledger(world: World, make: Callable[[Any], Any]) -> None:
    """They are merged in memory."""
    report = world.sync(make(ROWS), ledger=None)

    world.assert_stored(STORED)
    assert_closed(report)
    assert world.logrocket.total_applied == 2


def test_syncs_a_generator_of_any_mix(world: World) -> None:
    """A bad row is not the end of the run."""

    def rows() -> Iterator[object]:
        yield UserTraits("u0", traits={"plan": "pro"})
        yield {"user_id": "u1", "plan": "pro"}
        yield "no row"
        yield Row(4, UserTraits("u2", traits={"plan": "pro"}))
        yield BadRow(5, 5, "not JSON")
        yield {"user_id": "u3", "plan": {"pro"}}
        yield pd.DataFrame({"user_id": ["u4"], "plan": ["pro"]})

    report = world.sync(rows())

    world.assert_stored({f"u{number}": {"plan": "pro"} for number in (0, 1, 2, 4)})
    assert_closed(report)
    assert [row.line for row in report.bad_rows] == [3, 5, 6]


def test_keeps_the_rows_before_an_error(world: World) -> None:
    """The iterator's own error is raised, once they are in the ledger."""

    def rows() -> Iterator[dict[str, str]]:
        yield {"user_id": "u1", "plan": "pro"}
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        world.sync(rows())

    world.sync()
    world.assert_stored({"u1": {"plan": "pro"}})


def test_syncs_the_rows_of_a_database(world: World) -> None:
    """A result of SQLAlchemy, which is read once."""
    engine = sqlalchemy.create_engine("sqlite://")
    with engine.connect() as connection:
        result = connection.execute(sqlalchemy.text("SELECT 7 AS id, 'pro' AS plan UNION ALL SELECT 8, NULL"))

        report = world.sync(result)

    engine.dispose()
    assert report.rows == 2
    assert world.fullstory.by_uid("7") is not None


def test_syncs_rows_with_a_mapping(world: World) -> None:
    """By way of `read_rows`."""
    rows = read_rows(pd.DataFrame({"key": ["u1"], "plan": ["pro"]}), mapping=RowMapping(user_id="key"))

    world.sync(rows)

    world.assert_stored({"u1": {"plan": "pro"}})


def test_refuses_a_frame_without_ids(world: World) -> None:
    """Its index may hold them."""
    with pytest.raises(SourceError, match="the index is not read"):
        world.sync(pd.DataFrame({"plan": ["pro"]}, index=["u1"]))


@kinds
def test_the_first_run_warns_of_mistakes(world: World, make: Callable[[Any], Any]) -> None:
    """As the command line does; later runs have nothing left to prevent."""
    rows = [{"user_id": "a1", "seats": "43"}, {"user_id": "A1", "seats": "7"}]

    reports = [dry_run(make(rows), [Fullstory("na1.key")], ledger=None).report, world.sync(make(rows))]

    for report in reports:
        assert len(report.notes.warnings) == 2
        assert any("seats (integer)" in warning for warning in report.notes.warnings)
    assert world.sync(make(rows)).notes.warnings == []


@kinds
def test_a_dry_run_takes_rows(make: Callable[[Any], Any]) -> None:
    """As `sync` does."""
    result = dry_run(make(ROWS), [Fullstory("na1.key")], ledger=None)

    assert (result.report.rows, result.report.bad_row_count) == (4, 1)
    assert result.report["fullstory"].accepted == 2


@kinds
def test_types_are_inferred_from_rows(make: Callable[[Any], Any]) -> None:
    """As from those that are already read."""
    rows = [{"user_id": "u1", "seats": "43"}, {"user_id": "u2", "seats": "7"}]

    inferred = infer_mapping(make(rows)).mapping()

    assert inferred == infer_mapping(read_rows(make(rows))).mapping()
    assert inferred.fields["seats"].cast == "int"


FRAME: Final = pd.DataFrame({"id": ["u1"]})


@pytest.mark.parametrize(
    ("call", "advice"),
    [
        (lambda: list(read_rows(FRAME, mapping=cast("Any", "mapping.toml"))), "load_mapping"),
        (lambda: list(read_rows([{"id": "u1"}], mapping=cast("Any", {"user_id": "id"}))), "load_mapping"),
        (lambda: list(read_users("users.csv", mapping=cast("Any", "mapping.toml"))), "load_mapping"),
        (lambda: read_users(FRAME), "read_rows"),
        (lambda: check(FRAME, [Fullstory("na1.key")]), "dry_run"),
        (lambda: sync(FRAME, cast("Any", Fullstory("na1.key")), ledger=None), "list"),
        (lambda: sync(FRAME, cast("Any", "fullstory"), ledger=None), "list"),
        (lambda: sync(FRAME, cast("Any", ["fullstory"]), ledger=None), "name"),
    ],
)
def test_a_mistaken_argument_is_named(
    call: Callable[[], object], advice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what to pass instead."""
    monkeypatch.chdir(tmp_path)
    Path("users.csv").write_text("id\nu1\n", encoding="utf-8")

    with pytest.raises(ConfigurationError, match=advice):
        call()
