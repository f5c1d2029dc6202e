"""What a vendor may hold after calls by processes that can be killed: the newest acknowledged value of every field.

A process writes each call to its journal before it makes it, and once more, on disk, when it is acknowledged. A call of
which only the first line is there may have been made or not.
"""

import os
import random
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

import attrs
import orjson
from support.vendor_models import is_mapping

from replay_identity import REMOVE, UserTraits

# The traits of one call: few values each, so that they come back. A removed mapping is None.
Traits: TypeAlias = dict[str, Any]
ABSENT: Final = "absent"
# Every value is allowed.
ANY: Final = "any"
_LEAVES: Final = ("company.size", "company.city", "company.site.floor")


@attrs.frozen
class Call:
    """One call about one user.

    Attributes:
        user_id: The user.
        traits: What the call changes.
        is_acknowledged: Whether the call has returned.
    """

    user_id: str
    traits: Traits
    is_acknowledged: bool

    @property
    def user(self) -> UserTraits:
        """Return the user to send."""
        own = ("name", "email")
        traits = {name: REMOVE if value is None else value for name, value in self.traits.items() if name not in own}
        return UserTraits(self.user_id, name=self.traits.get("name"), email=self.traits.get("email"), traits=traits)


@attrs.define
class Journal:
    """The calls of one process after another, in a file that survives them."""

    path: Path
    _descriptor: int = attrs.field(init=False)
    _number: int = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._number = sum(1 for _ in _lines(self.path))
        self._descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        # Ends a line that the previous process was killed in.
        os.write(self._descriptor, b"\n")

    def begin(self, calls: Iterable[tuple[str, Traits]]) -> list[int]:
        """Record that *calls* are about to be made, in their order, and return their numbers."""
        numbers: list[int] = []
        lines: list[bytes] = []
        for user_id, traits in calls:
            self._number += 1
            numbers.append(self._number)
            lines.append(orjson.dumps({"call": self._number, "user": user_id, "traits": traits}))
        os.write(self._descriptor, b"".join(line + b"\n" for line in lines))
        return numbers

    def acknowledge(self, numbers: Iterable[int]) -> None:
        """Record that calls have returned; it is on disk when this returns."""
        os.write(self._descriptor, b"".join(orjson.dumps({"done": number}) + b"\n" for number in numbers))
        os.fsync(self._descriptor)


def read_calls(path: Path) -> list[Call]:
    """Return the calls of a journal, in their order."""
    lines = [*_lines(path)]
    done = {line["done"] for line in lines if "done" in line}
    return [Call(line["user"], line["traits"], line["call"] in done) for line in lines if "call" in line]


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    if not path.exists():
        return
    for line in path.read_bytes().splitlines():
        try:
            yield orjson.loads(line)
        except orjson.JSONDecodeError:
            continue  # Empty, or the process was killed while writing it.


def draw_traits(rng: random.Random, *, removes: bool) -> Traits:
    """Draw a few traits; if *removes*, the nested one may be removed as a whole."""
    values: dict[str, Any] = {
        "plan": rng.choice("abc"),
        "seats": rng.randrange(3),
        "name": rng.choice(("Ann", "Bob")),
        "email": rng.choice(("a@example.com", "b@example.com")),
        "company": _draw_company(rng),
    }
    drawn = {name: values[name] for name in rng.sample([*values], rng.randrange(1, 4))}
    if removes and rng.random() < 0.15:
        drawn["company"] = None
    return drawn


def _draw_company(rng: random.Random) -> Traits:
    company: Traits = {
        "size": rng.choice("12"),
        "city": rng.choice(("Bonn", "Kiel")),
        "site": {"floor": rng.choice("34")},
    }
    return {name: company[name] for name in rng.sample([*company], rng.randrange(1, 4))}


def allowed_values(calls: Iterable[Call], *, removes: bool) -> dict[str, dict[str, set[Any]]]:
    """Return the values that each field of each user may have, by dotted name.

    Args:
        calls: All calls, those about one user in their order.
        removes: Whether the vendor can remove a trait; otherwise it may keep any value of a removed one.
    """
    users: dict[str, dict[str, set[Any]]] = {}
    for call in calls:
        fields = users.setdefault(call.user_id, {})
        for name, value in _changes(call.traits, removes=removes).items():
            known = fields.get(name, {ABSENT})
            fields[name] = {value} if call.is_acknowledged else known | {value}
    return users


def _changes(traits: Traits, *, removes: bool) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    for name, value in traits.items():
        if value is None:
            changes.update(dict.fromkeys(_LEAVES, ABSENT if removes else ANY))
        else:
            changes.update(flatten({name: value}))
    return changes


def flatten(traits: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested traits by dotted name."""
    flat: dict[str, Any] = {}
    for name, value in traits.items():
        if is_mapping(value):
            flat.update({f"{name}.{below}": leaf for below, leaf in flatten(value).items()})
        else:
            flat[name] = value
    return flat


@attrs.frozen
class Faults:
    """Fields of one vendor that are not as they should be.

    Attributes:
        lost: Number of fields that should be there and are not.
        stale: Number of fields with a value that is not the newest.
        examples: A few of them.
    """

    lost: int
    stale: int
    examples: list[str]


def compare(allowed: Mapping[str, Mapping[str, set[Any]]], stored: Mapping[str, Mapping[str, Any]]) -> Faults:
    """Compare what a vendor stores with what is allowed."""
    lost: list[str] = []
    stale: list[str] = []
    for user_id, fields in allowed.items():
        known = stored.get(user_id, {})
        for name, values in fields.items():
            value = known.get(name, ABSENT)
            if ANY in values or value in values:
                continue
            (lost if value == ABSENT else stale).append(f"{user_id} {name}: {value}, not {sorted(map(str, values))}")
    return Faults(len(lost), len(stale), [*lost[:5], *stale[:5]])
