"""Strategies for users exactly at a vendor's limits, and users who break exactly one of them."""

from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeAlias

import attrs
from hypothesis import strategies as st

from ..adapters.limits import Limit, Limits
from ..traits import UserTraits
from .values import CHARACTERS, text_at, text_over

MakeUser: TypeAlias = Callable[[str], UserTraits]


@attrs.frozen
class Boundary:
    """A user at or over one limit.

    Attributes:
        user: The user, who is well within all other limits.
        field: Name of the limit's field in `Limits`, for example ``trait_value``.
        limit: The limit.
        path: Dotted path of the user's field, for example ``traits.t``.
        text: The text that is at or over the limit; None if the limit counts traits.
    """

    user: UserTraits
    field: str
    limit: Limit
    path: str
    text: str | None = attrs.field(repr=False)


def users_at(limits: Limits) -> st.SearchStrategy[Boundary]:
    """Return a strategy for users who are exactly at one of *limits*, measured in its unit.

    The limit on the size of a whole user is left out, since each vendor encodes users differently.
    """
    return st.one_of([_at(field, limit, characters) for field, limit, characters in _measured(limits)])


def users_over(limits: Limits) -> st.SearchStrategy[Boundary]:
    """Return a strategy for users who break exactly one of *limits*, most of them by a single character."""
    over = [_over(field, limit, characters) for field, limit, characters in _measured(limits)]
    # A value limit would be broken before the limit on the whole user.
    if limits.user is not None and limits.trait_value is None:
        over.append(st.just(_boundary("user", limits.user, text_over(limits.user, "a"))))
    return st.one_of(over)


def _measured(limits: Limits) -> Iterable[tuple[str, Limit, tuple[str, ...]]]:
    """Yield the limits that a user can be exactly at, and the characters to test them with."""
    for field, limit in limits:
        if field in MEASURED:
            is_plain = field == "email" or (field == "trait_name" and limits.trait_name_pattern is not None)
            yield field, limit, _PLAIN if is_plain else CHARACTERS


def _at(field: str, limit: Limit, characters: tuple[str, ...]) -> st.SearchStrategy[Boundary]:
    if field == "trait_count":
        return st.just(_counted(limit, limit.maximum))
    ending = _ENDINGS.get(field, "")
    return st.sampled_from(characters).map(lambda character: _boundary(field, limit, text_at(limit, character, ending)))


def _over(field: str, limit: Limit, characters: tuple[str, ...]) -> st.SearchStrategy[Boundary]:
    if field == "trait_count":
        return st.just(_counted(limit, limit.maximum + 1))
    ending = _ENDINGS.get(field, "")

    def over(character: str, surplus: int) -> Boundary:
        return _boundary(field, limit, character * surplus + text_over(limit, character, ending))

    return st.builds(over, st.sampled_from(characters), st.sampled_from((0, 1, limit.maximum)))


def _boundary(field: str, limit: Limit, text: str) -> Boundary:
    path = f"traits.{text}" if field == "trait_name" else _PATHS.get(field, field)
    return Boundary(_USERS[field](text), field, limit, path, text)


def _counted(limit: Limit, count: int) -> Boundary:
    user = UserTraits("u1", traits={f"t{number}": number for number in range(count)})
    return Boundary(user, "trait_count", limit, "traits", None)


# Makes a user who has a text in the field of each limit.
_USERS: Final[Mapping[str, MakeUser]] = {
    # With a name, since for a user with only an id there may be nothing to send.
    "user_id": lambda text: UserTraits(text, name="Ada"),
    "name": lambda text: UserTraits("u1", name=text),
    "email": lambda text: UserTraits("u1", email=text),
    "trait_name": lambda text: UserTraits("u1", traits={text: "v"}),
    "trait_value": lambda text: UserTraits("u1", traits={"t": text}),
    "user": lambda text: UserTraits("u1", traits={"t": text}),
}
# The fields of the limits that a user can be exactly at.
MEASURED: Final = frozenset(_USERS.keys() - {"user"} | {"trait_count"})
_PATHS: Final = {"trait_value": "traits.t", "user": "traits.t"}
# Strict vendors validate e-mail addresses, and an id of blanks is a placeholder.
_ENDINGS: Final = {"email": "@example.com", "user_id": "u"}
_PLAIN: Final = ("a", "z")
