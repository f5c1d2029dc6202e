"""The tables about the properties of migrated users."""

import io
from typing import Any

from rich.console import Console

from replay_identity import Fullstory, LogRocket, Route, UserTraits
from replay_identity.cli.tables import print_fidelity
from replay_identity.migration.fidelity import Fidelity

ROUTES = [Route(Fullstory("na1.test", on_violation="adapt")), Route(LogRocket("a:b:c"))]


def printed_lines(*traits: dict[str, Any], max_lines: int = 10) -> list[str]:
    """Return the lines printed for users with these *traits*."""
    fidelity = Fidelity(ROUTES)
    for number, user_traits in enumerate(traits):
        fidelity.add(UserTraits(f"u{number}", traits=user_traits))
    console = Console(file=io.StringIO(), width=80)
    print_fidelity(console, fidelity, max_lines=max_lines)
    assert isinstance(console.file, io.StringIO)
    return [" ".join(line.split()) for line in console.file.getvalue().splitlines()]


def test_the_worst_property_comes_first() -> None:
    """Rejected values come before losses and frequency; empty columns are left out."""
    lines = printed_lines({"plan": "a", "bio": "b" * 2000, "seats": 4}, {"plan": "b"})

    start = lines.index("logrocket: properties")
    assert lines[start + 1] == "Property Users As is Rejected Held back"
    assert lines[start + 3 : start + 6] == ["traits.bio 1 0 1 0", "traits.plan 2 1 0 1", "traits.seats 1 0 0 1"]


def test_long_tables_are_cut() -> None:
    """The rest is counted."""
    assert printed_lines({"a": "x", "b": "x", "c": "x"}, max_lines=1).count("… and 2 more") == 2


def test_collisions_and_unique_properties_are_printed() -> None:
    """The number of properties is compared with the vendor's limit."""
    lines = printed_lines({"a-b": "x", "a_b": "y"}, {"plan": "x"})

    assert any("traits.a_b" in line and "1 user" in line for line in lines)
    assert any("1 distinct property" in line and "500" in line for line in lines)


def test_without_users_only_the_limit_is_printed() -> None:
    """There are no properties to list."""
    assert len(list(filter(None, printed_lines()))) == 1
