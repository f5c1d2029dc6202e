"""Users to measure with: JSON Lines of twelve mixed traits, about 400 bytes each, the same for the same numbers.

`python benchmarks/users.py 2000000 users.jsonl` writes a file in constant memory.
"""

import sys
import tempfile
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Final

import orjson

# Odd and without a common factor with any power of two: it scatters neighbouring numbers, and repeats after 2**32.
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
    """Return the user of that number."""
    drawn = number * _SCATTER & _MASK
    first, last = _FIRST[drawn % 8], _LAST[drawn // 8 % 8]
    day, minute = drawn // 64 % 28 + 1, drawn // 128 % 60
    return {
        "user_id": f"usr_{number:010d}",
        "name": f"{first} {last}",
        "email": f"user{number}@mail.example.com",
        "plan": _PLANS[drawn // 16 % 5],
        "role": _ROLES[drawn // 32 % 4],
        "country": _COUNTRIES[drawn // 256 % 8],
        "language": _LANGUAGES[drawn // 512 % 7],
        "campaign": _CAMPAIGN,
        "seats": drawn % 500 + 1,
        "logins": drawn % 100_000,
        "mrr": drawn % 1_000_000 / 100,
        "is_beta": drawn // 2048 % 2 == 0,
        "created_at": f"2024-{drawn // 4096 % 12 + 1:02d}-{day:02d}T08:{minute:02d}:41.240Z",
        "tags": [_TAGS[drawn // 1024 % 6], _TAGS[drawn // 8192 % 6]],
        "company": {"id": drawn % 20_000, "name": f"{last} {first} Holding KG", "is_paying": drawn // 4096 % 4 > 0},
    }


def users(count: int) -> Iterator[Mapping[str, Any]]:
    """Yield so many users, none of them twice."""
    return map(user, range(count))


def lines(count: int) -> Iterator[bytes]:
    """Yield so many users as chunks of JSON Lines."""
    rows = users(count)
    while chunk := list(islice(rows, _CHUNK)):
        yield b"".join([orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in chunk])


def write(path: Path, count: int) -> Path:
    """Write so many users to *path*, all or nothing, unless they are there from an earlier run."""
    if path.exists():
        return path
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.writelines(lines(count))
    Path(file.name).rename(path)
    return path


def main() -> None:
    """Write the users asked for and say how many bytes they are."""
    count, path = int(sys.argv[1]), Path(sys.argv[2])
    write(path, count)
    print(f"{count:,} users, {path.stat().st_size / count:.0f} bytes each, in {path}")


if __name__ == "__main__":
    main()
