"""How fast users are read from files and frames, beside DuckDB that only fetches the same rows.

Both read the same file with the same eight columns, in turn, in one process and on one thread. A user is a validated
`UserTraits`, and a row of DuckDB a tuple.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import duckdb

from benchmarks.bulk import Bench, Row
from benchmarks.tables import Table
from replay_identity import read_rows, read_users
from replay_identity.mapping import FieldRule, RowMapping

_COLUMNS: Final = """
    printf('usr_%010d', i) AS user_id, 'Ada ' || i AS name, 'ada' || i || '@example.com' AS email, 'pro' AS plan,
    i % 500 AS seats, DATE '2024-01-01' + (i % 700)::INTEGER AS signed_up, i % 7 = 0 AS active,
    'Acme ' || i % 100 AS team
"""
_FORMATS: Final[Mapping[str, str]] = {"csv": "csv", "jsonl": "json", "parquet": "parquet"}
_CASTS: Final = RowMapping(
    fields={"seats": FieldRule(cast="int"), "signed_up": FieldRule(cast="date"), "active": FieldRule(cast="bool")}
)
_BATCH: Final = 1000


def inputs(bench: Bench) -> Table:
    """Measure every kind of source."""
    count = bench.sizes.input_rows
    with duckdb.connect(config={"threads": 1}) as connection:
        files = {suffix: _write(connection, bench.folder, suffix, count) for suffix in _FORMATS}
        frame: Any = connection.sql(f"FROM '{files['parquet']}'").df()
        connection.register("frame", frame)
        sources = {suffix: (partial(read_users, path), f"'{path}'") for suffix, path in files.items()}
        sources["csv with casts"] = partial(read_users, files["csv"], mapping=_CASTS), f"'{files['csv']}'"
        sources["pandas"] = partial(read_rows, frame), "frame"

        def measure() -> Mapping[str, Row]:
            return {name: _measure(read, partial(_fetch, connection, sql)) for name, (read, sql) in sources.items()}

        rows = bench.rounds(measure, "inputs")
    note = f"{count:,} rows of eight columns. Seconds are CPU time."
    return Table(name="inputs", title="Reading users", rows=rows, note=note, ratios={"time x DuckDB": None})


def _write(connection: duckdb.DuckDBPyConnection, folder: Path, suffix: str, count: int) -> str:
    path = folder / f"inputs-{count}.{suffix}"
    if not path.exists():
        query = f"SELECT {_COLUMNS} FROM range({count}) t(i)"  # noqa: S608  # Constants of this file.
        connection.execute(f"COPY ({query}) TO '{path}' (FORMAT {_FORMATS[suffix]})")
    return str(path)


def _fetch(connection: duckdb.DuckDBPyConnection, source: str) -> int:
    connection.execute(f"FROM {source}")
    count = 0
    while batch := connection.fetchmany(_BATCH):
        count += len(batch)
    return count


def _measure(read: Callable[[], Iterable[object]], fetch: Callable[[], int]) -> Row:
    users, ours = _timed(lambda: sum(1 for _ in read()))
    rows, theirs = _timed(fetch)
    return {"users/s": users / ours, "rows/s of DuckDB alone": rows / theirs, "time x DuckDB": ours / theirs}


def _timed(work: Callable[[], int]) -> tuple[int, float]:
    started = time.process_time()
    return work(), time.process_time() - started
