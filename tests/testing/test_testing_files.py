"""The strategy for files of users."""

import io
import json
from collections.abc import Callable, Mapping
from typing import Final

import pytest
from hypothesis import example, find, given, settings

from replay_identity.sources import BadRow, Row, read_users
from replay_identity.testing import IdentityFile, identity_files

MARK: Final = b"\xef\xbb\xbf"


@given(identity_files())
@example(IdentityFile("users.jsonl", MARK, users=(), bad_lines=()))
def test_read_users_finds_users_and_bad_lines(file: IdentityFile) -> None:
    """It returns exactly the users and bad lines of the file, in order."""
    rows = list(read_users(io.BytesIO(file.content), format="csv" if file.name == "users.csv" else "jsonl"))

    assert tuple(row.user for row in rows if isinstance(row, Row)) == file.users
    assert tuple(row.line for row in rows if isinstance(row, BadRow)) == file.bad_lines


def is_csv(file: IdentityFile) -> bool:
    """Return True if the file is CSV."""
    return file.name == "users.csv"


def lines(file: IdentityFile) -> list[bytes]:
    """Return the lines; one row can span several."""
    return file.content.removeprefix(MARK).split(b"\n")


def bad_lines(file: IdentityFile) -> list[bytes]:
    """Return the lines on which bad rows begin."""
    return [lines(file)[number - 1].rstrip(b"\r") for number in file.bad_lines]


def has_cells(file: IdentityFile, surplus: int) -> bool:
    """Return True if a bad row of CSV has *surplus* cells more than the header, counted by commas."""
    commas = lines(file)[0].count(b",")
    return is_csv(file) and any(line.count(b",") == commas + surplus for line in bad_lines(file) if b'"' not in line)


def is_json(line: bytes) -> bool:
    """Return True if the line is valid JSON."""
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


KINDS: Final[Mapping[str, Callable[[IdentityFile], bool]]] = {
    "CSV": is_csv,
    "JSON Lines": lambda file: not is_csv(file),
    "a byte order mark": lambda file: file.content.startswith(MARK),
    "no byte order mark": lambda file: not file.content.startswith(MARK),
    "LF": lambda file: b"\n" in file.content and b"\r" not in file.content,
    "CRLF": lambda file: b"\r\n" in file.content,
    "a line break at the end": lambda file: file.content.endswith(b"\n"),
    "no line break at the end": lambda file: bool(file.users) and not file.content.endswith(b"\n"),
    "blank lines": lambda file: any(not line.strip() for line in lines(file)[1:-1]),
    "no users": lambda file: not file.users,
    "a duplicate id": lambda file: len({user.user_id for user in file.users}) < len(file.users),
    "Unicode": lambda file: not file.content.removeprefix(MARK).isascii(),
    "nested columns": lambda file: is_csv(file) and b"company.address.city" in lines(file)[0],
    "missing columns": lambda file: is_csv(file) and lines(file)[0].strip() == b"id,plan",
    "quoted headers": lambda file: is_csv(file) and lines(file)[0].startswith(b'"'),
    "line breaks in cells": lambda file: (
        is_csv(file) and any("\n" in str(user.traits.get("bio")) for user in file.users)
    ),
    "commas in cells": lambda file: is_csv(file) and any("," in (user.user_id or "") for user in file.users),
    "empty cells": lambda file: is_csv(file) and any(not user.traits for user in file.users),
    "CSV without an id": lambda file: is_csv(file) and any(line.startswith(b",") for line in bad_lines(file)),
    "too few cells": lambda file: has_cells(file, -1),
    "too many cells": lambda file: has_cells(file, 1),
    "truncated JSON": lambda file: (
        not is_csv(file) and any(line.startswith(b"{") and not line.endswith(b"}") for line in bad_lines(file))
    ),
    "JSON that is not an object": lambda file: (
        not is_csv(file) and any(is_json(line) and not line.startswith(b"{") for line in bad_lines(file))
    ),
    "JSON without an id": lambda file: (
        not is_csv(file) and any(is_json(line) and line.startswith(b"{") for line in bad_lines(file))
    ),
}


def test_every_kind_of_file_is_drawn() -> None:
    """A few hundred files contain each kind."""
    missing = set(KINDS)

    @settings(max_examples=300, derandomize=True, database=None)
    @given(identity_files())
    def record(file: IdentityFile) -> None:
        missing.difference_update([kind for kind in missing if KINDS[kind](file)])

    record()

    assert not missing


def smallest(matches: Callable[[IdentityFile], bool]) -> IdentityFile:
    """Return the smallest file that matches, the same in every run."""
    return find(identity_files(), matches, settings=settings(max_examples=2000, derandomize=True, database=None))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["blank lines", "a duplicate id", "too many cells", "truncated JSON"])
def test_files_shrink_to_their_kind(kind: str) -> None:
    """The smallest file has a few short lines."""
    file = smallest(KINDS[kind])

    assert len(lines(file)) <= 5
    assert len(file.content) <= 60


def careless(content: bytes) -> list[str]:
    """Return the ids in JSON Lines as a careless reader finds them: `splitlines` splits at too many characters."""
    found = [
        line for line in content.decode("utf-8-sig").splitlines() if line.startswith("{") and is_json(line.encode())
    ]
    rows: list[dict[str, str | None]] = [json.loads(line) for line in found]
    return [user_id for row in rows if (user_id := row.get("id"))]


def test_careless_reader_misses_a_user() -> None:
    """A file has a user that it does not find."""
    file = smallest(lambda file: not is_csv(file) and len(careless(file.content)) < len(file.users))

    assert "\u2028" in file.content.decode()
    assert file.users != ()


def test_repr_hides_users() -> None:
    """A failing test prints the repr."""
    file = smallest(lambda file: bool(file.users))

    assert "u1" in file.content.decode()
    assert "u1" not in repr(file)
