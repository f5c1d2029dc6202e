"""Test users as JSON Lines: twelve mixed traits, about 400 bytes each, and the same user for the same number.

`python benchmarks/users.py 2000000 users.jsonl` writes a file in constant memory.
"""

import sys
import tempfile
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Final

import orjson

# Multiplying by an odd number modulo 2**32 scatters neighbouring numbers and gives each of them a different value.
_SCATTER: Final = 2_654_435_761
_MASK: Final = 2**32 - 1
_PLANS: Final = ("free", "starter", "team", "business", "enterprise")
_ROLES: Final = ("viewer", "editor", "admin", "owner")
_COUNTRIES: Final = ("DE", "FR", "PL", "GB", "US", "BR", "IN", "JP")
_LANGUAGES: Final = ("de", "fr", "pl", "en", "pt", "hi", "ja")
_TAGS: Final = ("vip", "eu", "beta", "churn-risk", "partner", "trial")
_FIRST: Final = ("Ann", "Bo", "Chloé", "Dmitri", "Eun-ji", "Fátima", "Gesa", "Hiro")
_LAST: Final = ("Wirth", "Okafor", "Müller", "Kowalska", "Tanaka", "Silva", "Larsen", "Haddad")
_CAMPAIGN: Final = "newsletter-2026-autumn-returning-customers"
_CHUNK: Final = 2_000


def user(number: int) -> dict[str, Any]:
    """Return the user with this number."""
    mixed = number * _SCATTER & _MASK
    first, last = _FIRST[mixed % 8], _LAST[mixed // 8 % 8]
    day, minute = mixed // 64 % 28 + 1, mixed // 128 % 60
    return {
        "user_id": f"usr_{number:010d}",
        "name": f"{first} {last}",
        "email": f"user{number}@mail.example.com",
        "plan": _PLANS[mixed // 16 % 5],
        "role": _ROLES[mixed // 32 % 4],
        "country": _COUNTRIES[mixed // 256 % 8],
        "language": _LANGUAGES[mixed // 512 % 7],
        "campaign": _CAMPAIGN,
        "seats": mixed % 500 + 1,
        "logins": mixed % 100_000,
        "mrr": mixed % 1_000_000 / 100,
        "is_beta": mixed // 2048 % 2 == 0,
        "created_at": f"2024-{mixed // 4096 % 12 + 1:02d}-{day:02d}T08:{minute:02d}:41.240Z",
        "tags": [_TAGS[mixed // 1024 % 6], _TAGS[mixed // 8192 % 6]],
        "company": {"id": mixed % 20_000, "name": f"{last} {first} Holding KG", "is_paying": mixed // 4096 % 4 > 0},
    }


def users(count: int) -> Iterator[Mapping[str, Any]]:
    """Yield *count* different users."""
    return map(user, range(count))


def lines(count: int) -> Iterator[bytes]:
    """Yield *count* users as chunks of JSON Lines."""
    rows = users(count)
    while chunk := list(islice(rows, _CHUNK)):
        yield b"".join([orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in chunk])


def write(path: Path, count: int) -> Path:
    """Write *count* users to *path* atomically, unless it exists from an earlier run, and return *path*."""
    if path.exists():
        return path
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.writelines(lines(count))
    Path(file.name).rename(path)
    return path


def main() -> None:
    """Write the file that the command line asks for, and print its size."""
    count, path = int(sys.argv[1]), Path(sys.argv[2])
    write(path, count)
    print(f"{count:,} users, {path.stat().st_size / count:.0f} bytes each, in {path}")


if __name__ == "__main__":
    main()
