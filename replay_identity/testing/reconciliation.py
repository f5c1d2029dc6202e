"""Compare the users of two emulators."""

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
_DATETIME: Final = re.compile(r"\d{4}-\d\d-\d\d(T.{5,30})?")
# Encodes Fullstory's users for LogRocket; its key is never sent.
_LOGROCKET: Final = LogRocket("org:app:none", on_violation="adapt")


def find_differences(fullstory: FullstoryEmulator, logrocket: LogRocketEmulator) -> list[str]:
    """Return the differences between the two vendors' users, one line each, without ids and values.

    Adaptations to LogRocket's limits and the types of values are not differences. Users without your own id
    are ignored, since LogRocket has no anonymous users.
    """
    fullstory_users = {user.uid: user for user in fullstory.users.values() if user.uid and not user.is_being_deleted}
    logrocket_users = logrocket.users
    return [
        f"{fingerprint(user_id)}: {difference}"
        for user_id in dict.fromkeys([*fullstory_users, *logrocket_users])
        for difference in _differences(fullstory_users.get(user_id), logrocket_users.get(user_id))
    ]


def _differences(fullstory: FullstoryUser | None, logrocket: LogRocketUser | None) -> Iterator[str]:
    if fullstory is None or logrocket is None:
        yield "only LogRocket has this user" if fullstory is None else "only Fullstory has this user"
        return
    expected, stored = _encode_for_logrocket(fullstory), _fields(logrocket.as_json())
    for path in dict.fromkeys([*expected, *stored]):
        if path not in stored:
            yield f"only Fullstory has {path}"
        elif path not in expected:
            yield f"only LogRocket has {path}"
        elif not _is_same_value(expected[path], stored[path]):
            yield f"{path} differs"


def _encode_for_logrocket(user: FullstoryUser) -> dict[str, str]:
    traits: Mapping[str, Any] = user.properties
    plan = _LOGROCKET.plan(UserTraits(user.uid, name=user.display_name, email=user.email, traits=traits))
    return _fields({} if plan.request is None else orjson.loads(plan.request.body or b"{}"))


def _fields(user: Mapping[str, Any]) -> dict[str, str]:
    fields = {name: user[name] for name in ("name", "email") if name in user}
    traits = {f"traits.{name}": text for name, text in user.get("traits", {}).items()}
    return {path: text for path, text in {**fields, **traits}.items() if text}


def _is_same_value(first: str, second: str) -> bool:
    return first == second or _parse(first) == _parse(second)


def _parse(text: str) -> object:
    if _NUMBER.fullmatch(text):
        return Decimal(text)
    if _DATETIME.fullmatch(text):
        return _parse_datetime(text)
    if text.startswith("["):
        return _parse_list(text)
    return text


def _parse_datetime(text: str) -> object:
    try:
        # A date is its midnight in UTC.
        return datetime.fromisoformat(text if "T" in text else f"{text}T00:00:00Z")
    except ValueError:
        return text


def _parse_list(text: str) -> object:
    try:
        items: list[Any] = json.loads(text, parse_float=str, parse_int=str)
    except ValueError:
        return text
    return [_parse(item) if isinstance(item, str) else item for item in items]
