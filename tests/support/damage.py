"""Damage the file of a ledger in every way that a disk, a tool or a person may, by a random number generator."""

import re
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from random import Random
from typing import Any, Final

PAGE: Final = 4096
_TABLES: Final = "SELECT name, sql FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name"
_STRANGE: Final[Sequence[Any]] = (
    *(None, -1, 0, 1, 2**31, 2**53 + 1, 2**63 - 1, -(2**63), 3.5, 1e300),
    *("", "text", "5", "null", "[]", "{}", '{"a":', "[" * 2000 + "]" * 2000, "x" * 20_000, "\0"),
    *(b"", b"\xff\xfe", b"5", b"null", b"[]", b"{}", b'{"user_id": "u1"}', b'{"user_id": 5, "traits": []}', bytes(32)),
    *(b"[[1, 1, 5, 5, 5]]", b'[[1, 1, "u1", null, [5]]]', b"[" * 900 + b"]" * 900, b'{"traits": 5}', b"\0" * 5000),
)
_TOKENS: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|-?\d+|null|true|false|[\[\]{}:,]')
_JSON: Final = (b"null", b"5", b"-1", b'"x"', b"[]", b"{}", b"1e400", b"9" * 40, b'"\\ud800"', b'"\xff"', b"")


def damage(path: Path, random: Random) -> str:
    """Damage the file at *path*, and return how."""
    how = random.choice(_WAYS)
    how(path, random)
    return how.__name__.strip("_")


def _flip_bytes(path: Path, random: Random) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(random.choice((1, 1, 2, 5, 50, 500))):
        content[random.randrange(len(content))] = random.randrange(256)
    path.write_bytes(content)


def _flip_in_page(path: Path, random: Random) -> None:
    content = bytearray(path.read_bytes())
    start = random.randrange(len(content) // PAGE) * PAGE
    for _ in range(random.choice((1, 3, 10))):
        # Headers are at the beginning, and cells at the end.
        offset = random.choice((random.randrange(100), random.randrange(PAGE), PAGE - 1 - random.randrange(400)))
        content[start + offset] ^= 1 << random.randrange(8)
    path.write_bytes(content)


def _zero_pages(path: Path, random: Random) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(random.choice((1, 2, 5))):
        start = random.randrange(len(content) // PAGE) * PAGE
        content[start : start + PAGE] = bytes(PAGE)
    path.write_bytes(content)


def _swap_pages(path: Path, random: Random) -> None:
    content = bytearray(path.read_bytes())
    one, two = (random.randrange(len(content) // PAGE) * PAGE for _ in range(2))
    content[one : one + PAGE], content[two : two + PAGE] = content[two : two + PAGE], content[one : one + PAGE]
    path.write_bytes(content)


def _truncate(path: Path, random: Random) -> None:
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.truncate(random.choice((random.randrange(size), random.randrange(size // PAGE) * PAGE)))


def _append_garbage(path: Path, random: Random) -> None:
    with path.open("ab") as file:
        file.write(random.randbytes(random.choice((1, 100, PAGE, 10 * PAGE))))


def _foreign_wal(path: Path, random: Random) -> None:
    other = path.with_name("other.db")
    shutil.copy(path, other)
    with closing(sqlite3.connect(other, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        for table in random.sample(_names(connection), 3):
            connection.execute(f"DELETE FROM {table}")  # noqa: S608
        content = bytearray(other.with_name("other.db-wal").read_bytes())
    if random.random() < 0.5:
        content[random.randrange(len(content))] ^= 255
    path.with_name(f"{path.name}-wal").write_bytes(content)
    if random.random() < 0.3:
        path.with_name(f"{path.name}-shm").write_bytes(random.randbytes(32768))


def _strange_value(path: Path, random: Random) -> None:
    _rewrite(path, random, lambda _: random.choice(_STRANGE))


def _text_not_utf8(path: Path, random: Random) -> None:
    _rewrite(path, random, lambda _: random.choice((b"\xff\xfe", b'{"a": "\xff"}')), expression="CAST(? AS TEXT)")


def _other_type(path: Path, random: Random) -> None:
    def change(value: Any) -> Any:
        if isinstance(value, bytes):
            return value.decode("latin-1")
        return value.encode() if isinstance(value, str) else str(value)

    _rewrite(path, random, change)


def _cut_value(path: Path, random: Random) -> None:
    _rewrite(path, random, lambda value: value[: random.randrange(len(value) + 1)] if _is_long(value) else -1)


def _other_json(path: Path, random: Random) -> None:
    def change(value: Any) -> Any:
        if not _is_long(value):
            return value
        content = value if isinstance(value, bytes) else value.encode()
        tokens = list(_TOKENS.finditer(content))
        if not tokens:
            return value[:-1]
        start, end = random.choice(tokens).span()
        content = content[:start] + random.choice(_JSON) + content[end:]
        return content if isinstance(value, bytes) else content.decode("utf-8", "replace")

    _rewrite(path, random, change)


def _delete_rows(path: Path, random: Random) -> None:
    with _writing(path) as connection:
        connection.execute(f"DELETE FROM {random.choice(_names(connection))}")  # noqa: S608


def _delete_key(path: Path, _: Random) -> None:
    with _writing(path) as connection:
        connection.execute("DELETE FROM ledger")


def _repeat_key(path: Path, _: Random) -> None:
    with _writing(path) as connection:
        connection.execute("INSERT INTO ledger SELECT * FROM ledger")


def _drop_table(path: Path, random: Random) -> None:
    with _writing(path) as connection:
        connection.execute(f"DROP TABLE {random.choice(_names(connection))}")


def _rename_column(path: Path, random: Random) -> None:
    with _writing(path) as connection:
        table = random.choice(_names(connection))
        column = random.choice(_columns(connection, table))
        connection.execute(f"ALTER TABLE {table} RENAME COLUMN {column} TO renamed")


def _break_schema(path: Path, random: Random) -> None:
    with _writing(path) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        text = random.choice(("CREATE TABLE", "nonsense", "CREATE TABLE t (x", ""))
        connection.execute("UPDATE sqlite_master SET sql = ? WHERE name = ?", [text, random.choice(_names(connection))])


def _wrong_root(path: Path, random: Random) -> None:
    """Let a table, or its index, be read from another one's pages."""
    with _writing(path) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        roots = [row for (row,) in connection.execute("SELECT rootpage FROM sqlite_master WHERE rootpage > 0")]
        one, two = random.choice(roots), random.choice([*roots, 1, 10**6])
        connection.execute("UPDATE sqlite_master SET rootpage = ? WHERE rootpage = ?", [two, one])


def _rewrite(path: Path, random: Random, change: Callable[[Any], Any], *, expression: str = "?") -> None:
    """Change values of one column, although they break its constraints."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        table = random.choice([name for name in _names(connection) if _count(connection, name)])
        column = random.choice(_columns(connection, table))
        (sql,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = ?", [table]).fetchone()
    _set_schema(path, table, sql.replace("NOT NULL", ""))
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        values = [value for (value,) in connection.execute(f"SELECT DISTINCT {column} FROM {table}")]  # noqa: S608
        for value in random.sample(values, min(len(values), random.choice((1, 1, 3)))):
            update = f"UPDATE OR REPLACE {table} SET {column} = {expression} WHERE {column} IS ?"  # noqa: S608
            with suppress(sqlite3.Error):
                connection.execute(update, [change(value), value])
    _set_schema(path, table, sql)


def _set_schema(path: Path, table: str, sql: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_master SET sql = ? WHERE name = ?", [sql, table])


def _is_long(value: object) -> bool:
    return isinstance(value, bytes | str)


def _writing(path: Path) -> closing[sqlite3.Connection]:
    return closing(sqlite3.connect(path, isolation_level=None))


def _names(connection: sqlite3.Connection) -> list[str]:
    return [name for name, _ in connection.execute(_TABLES)]


def _columns(connection: sqlite3.Connection, table: str) -> list[str]:
    return [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]


def _count(connection: sqlite3.Connection, table: str) -> int:
    return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608


_WAYS: Final[Sequence[Callable[[Path, Random], None]]] = (
    *(_flip_bytes, _flip_in_page, _zero_pages, _swap_pages, _truncate, _append_garbage, _foreign_wal),
    *(_strange_value, _strange_value, _strange_value, _text_not_utf8, _other_type, _other_type, _cut_value),
    *(_other_json, _other_json, _delete_rows, _delete_key, _repeat_key, _drop_table, _rename_column),
    *(_break_schema, _wrong_root),
)
