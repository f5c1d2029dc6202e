"""Whether two fake vendors hold the same users, each in its own words."""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import orjson

from ..emulator import FullstoryEmulator, FullstoryUser, LogRocketEmulator, LogRocketUser
from ..logrocket import LogRocket
from ..traits import UserTraits, fingerprint

_NUMBER: Final = re.compile(r"-?\d{1,500}(\.\d{1,500})?([eE][+-]?\d{1,3})?")
_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\d(T.{5,30})?")
# Plans in LogRocket's words; its key is never sent.
_WORDS: Final = LogRocket("org:app:none", on_violation="adapt")


def find_differences(fullstory: FullstoryEmulator, logrocket: LogRocketEmulator) -> list[str]:
    """Return how the two vendors' users differ, one line for each difference, without ids and values.

    What LogRocket's limits ask for is no difference, nor is the type of a value. Users without an id of the
    application's are left out, since LogRocket has no anonymous ones.
    """
    ours = {user.uid: user for user in fullstory.users.values() if user.uid and not user.is_being_deleted}
    theirs = logrocket.users
    return [
        f"{fingerprint(user_id)}: {difference}"
        for user_id in dict.fromkeys([*ours, *theirs])
        for difference in _differences(ours.get(user_id), theirs.get(user_id))
    ]


def _differences(fullstory: FullstoryUser | None, logrocket: LogRocketUser | None) -> Iterator[str]:
    if fullstory is None or logrocket is None:
        yield "only LogRocket has this user" if fullstory is None else "only Fullstory has this user"
        return
    wanted, held = _worded(fullstory), _fields(logrocket.as_json())
    for path in dict.fromkeys([*wanted, *held]):
        if path not in held:
            yield f"only Fullstory has {path}"
        elif path not in wanted:
            yield f"only LogRocket has {path}"
        elif not _means_the_same(wanted[path], held[path]):
            yield f"{path} differs"


def _worded(user: FullstoryUser) -> dict[str, str]:
    """Return what LogRocket would be sent of a user as Fullstory holds them, by path."""
    traits: Mapping[str, Any] = user.properties
    plan = _WORDS.plan(UserTraits(user.uid, name=user.display_name, email=user.email, traits=traits))
    return _fields({} if plan.request is None else orjson.loads(plan.request.body or b"{}"))


def _fields(user: Mapping[str, Any]) -> dict[str, str]:
    own = {name: user[name] for name in ("name", "email") if name in user}
    traits = {f"traits.{name}": text for name, text in user.get("traits", {}).items()}
    return {path: text for path, text in {**own, **traits}.items() if text}


def _means_the_same(one: str, other: str) -> bool:
    """Tell whether the two texts are one value: the same text, number, moment or list of these."""
    return one == other or _value(one) == _value(other)


def _value(text: str) -> object:
    if _NUMBER.fullmatch(text):
        return Decimal(text)
    if _MOMENT.fullmatch(text):
        return _moment(text)
    if text.startswith("["):
        return _items(text)
    return text


def _moment(text: str) -> object:
    try:
        # A day is its midnight in UTC.
        return datetime.fromisoformat(text if "T" in text else f"{text}T00:00:00Z")
    except ValueError:
        return text


def _items(text: str) -> object:
    try:
        items: list[Any] = json.loads(text, parse_float=str, parse_int=str)
    except ValueError:
        return text
    return [_value(item) if isinstance(item, str) else item for item in items]
