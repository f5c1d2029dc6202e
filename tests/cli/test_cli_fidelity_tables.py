"""What became of properties, as tables."""

import io
from typing import Any

from rich.console import Console

from replay_identity import Fullstory, LogRocket, Route, UserTraits
from replay_identity.cli.tables import print_fidelity
from replay_identity.migration.fidelity import Fidelity

ROUTES = [Route(Fullstory("na1.test", on_violation="adapt")), Route(LogRocket("a:b:c"))]


def printed(*traits: dict[str, Any], most: int = 10) -> list[str]:
    """Return the lines printed about users with these *traits*."""
    fidelity = Fidelity(ROUTES)
    for number, one in enumerate(traits):
        fidelity.add(UserTraits(f"u{number}", traits=one))
    console = Console(file=io.StringIO(), width=80)
    print_fidelity(console, fidelity, most=most)
    assert isinstance(console.file, io.StringIO)
    return [" ".join(line.split()) for line in console.file.getvalue().splitlines()]


def test_the_worst_property_comes_first() -> None:
    """What is refused, then what loses something, then the most frequent; empty columns are left out."""
    lines = printed({"plan": "a", "bio": "b" * 2000, "seats": 4}, {"plan": "b"})

    start = lines.index("What becomes of properties at logrocket")
    assert lines[start + 1] == "Property Users As is Refused Held back"
    assert lines[start + 3 : start + 6] == ["traits.bio 1 0 1 0", "traits.plan 2 1 0 1", "traits.seats 1 0 0 1"]


def test_only_some_are_printed() -> None:
    """The rest is counted."""
    assert printed({"a": "x", "b": "x", "c": "x"}, most=1).count("… and 2 more") == 2


def test_collisions_and_unique_properties_are_told() -> None:
    """By name, and against what the organisation may have."""
    lines = printed({"a-b": "x", "a_b": "y"}, {"plan": "x"})

    assert "fullstory: traits.a_b would have the name of another property, for 1 user" in lines
    assert "fullstory: 1 different properties; an organisation may have 500" in lines


def test_nothing_is_printed_of_nobody() -> None:
    """But how many properties there are."""
    assert printed() == ["fullstory: 0 different properties; an organisation may have 500", ""]
