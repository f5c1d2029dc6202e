"""Users of every kind, and users who are well within a vendor's limits."""

from functools import partial
from typing import Any, Final

import attrs
from hypothesis import strategies as st

from .._values import REMOVE
from ..adapters.limits import Limit, Limits
from ..traits import TRAIT_TYPES, UserTraits
from .values import (
    WIDTHS,
    lists,
    long_texts,
    moments,
    names_in_use,
    one_trait,
    recent_datetimes,
    safe_names,
    scalars,
    small_texts,
    small_values,
    texts,
    trait_maps,
)

_TRICKY_IDS: Final = ("u1", "a/b", "..", ".", "google-oauth2|abc", "%2F", "é", "a b?c#d", " u1 ", "null")
_VENDOR_IDS: Final = ({"fullstory": "7449164135934483470"}, {"fullstory": ".."}, {"other": "a/b"})
_TYPES: Final = sorted(TRAIT_TYPES)
# What a modest text may hold at the most: half of it may be characters of four bytes.
_MODEST: Final = 40


def user_ids() -> st.SearchStrategy[str]:
    """Return the application's ids, some of which no path can hold, and some around the common limits."""
    return st.one_of(texts(min_size=1), st.sampled_from((*_TRICKY_IDS, *_LONG_IDS)))


_LONG_IDS: Final = tuple(
    width * (maximum // len(width.encode("utf-16-le")) * 2 + step)
    for width in WIDTHS
    for maximum in (50, 200, 256, 1024)
    for step in (0, 1)
)


@attrs.frozen
class _Field:
    """One thing said of a user who has more to them than traits."""

    field: str
    value: Any = attrs.field(repr=False)


def user_traits(**fixed: st.SearchStrategy[Any]) -> st.SearchStrategy[UserTraits]:
    """Return users of every kind: any id or none, any values, tricky names, texts around the common limits.

    Args:
        **fixed: Strategies of single fields of `UserTraits`, in place of those here.
    """
    user_id = {} if "user_id" in fixed else {"user_id": st.one_of(user_ids(), st.none())}
    said = [strategy.map(partial(_Field, field)) for field, strategy in _anything().items() if field not in fixed]
    traits = [] if "traits" in fixed else _any_traits()
    return st.builds(_user, st.lists(st.one_of(*traits, *said), max_size=4), **user_id, **fixed)


def _any_traits() -> list[st.SearchStrategy[tuple[str, Any]]]:
    """Return strategies of a trait's name and value."""
    # Each kind of value by itself, since every choice that is not made saves a tenth of the time.
    named = [st.tuples(names_in_use(), kind) for kind in (scalars(), lists(), st.sampled_from([REMOVE, None, ""]))]
    return [*named, st.tuples(texts(), texts()), st.tuples(names_in_use(), trait_maps(max_size=2))]


def _anything() -> dict[str, st.SearchStrategy[Any]]:
    """Return what may be said of a user beside their traits, by field."""
    return {
        "name": st.one_of(texts(), long_texts(256, 1024)),
        "email": st.one_of(texts(), st.just("ada@example.com"), long_texts(128, 1024)),
        "observed_at": moments(),
        "types": st.dictionaries(names_in_use(), st.sampled_from(_TYPES), max_size=2),
        "vendor_ids": st.sampled_from(_VENDOR_IDS),
    }


# Said one after another and not field by field, so that a user who says little costs little, and shrinks to nothing.
def _user(said: list[_Field | tuple[str, Any]], **fields: Any) -> UserTraits:  # noqa: ANN401  # As `UserTraits` takes.
    """Return the user of whom all that is said, the last word counting."""
    for one in said:
        if isinstance(one, _Field):
            fields[one.field] = one.value
        else:
            fields.setdefault("traits", {})[one[0]] = one[1]
    return UserTraits(**fields)


def valid_users(limits: Limits, *, values: st.SearchStrategy[Any] | None = None) -> st.SearchStrategy[UserTraits]:
    """Return users who are well within every one of *limits*: none may be refused, and nothing of them be lost.

    Args:
        limits: A vendor's limits.
        values: What traits may be, where a vendor has rules that are no limits; by default `small_values`.
    """
    value = small_values() if values is None else values
    said: list[st.SearchStrategy[_Field | tuple[str, Any]]] = [
        st.tuples(safe_names(), value),
        st.tuples(safe_names(), one_trait(safe_names(), value)),
        _modest_email(limits.email).map(partial(_Field, "email")),
        recent_datetimes().map(partial(_Field, "observed_at")),
    ]
    return st.builds(
        _user,
        st.lists(st.one_of(said), max_size=3),
        user_id=_modest(limits.user_id, "u{}v"),
        # Somebody of whom nothing at all is said may be skipped.
        name=_modest(limits.name, "N{}n"),
    )


def _modest(limit: Limit | None, form: str) -> st.SearchStrategy[str]:
    """Return texts within *limit* in which every vendor finds what it needs: letters at both ends, nothing unseen."""
    longest = _MODEST if limit is None else min(_MODEST, limit.safe_length - len(form))
    return small_texts(max_size=longest).map(form.format)


def _modest_email(limit: Limit | None) -> st.SearchStrategy[str]:
    longest = _MODEST if limit is None else min(_MODEST, limit.safe_length - len(_DOMAIN))
    return st.text(_LETTERS, min_size=1, max_size=longest).map(f"{{}}{_DOMAIN}".format)


_DOMAIN: Final = "@example.com"
_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz"
