"""Strategies for users of every kind, and for users well within a vendor's limits."""

from functools import partial
from typing import Any, Final

import attrs
from hypothesis import strategies as st

from .._values import REMOVE
from ..adapters.limits import Limit, Limits
from ..traits import TRAIT_TYPES, UserTraits
from .values import (
    WIDTHS,
    colliding_names,
    datetimes,
    lists,
    long_texts,
    recent_datetimes,
    safe_names,
    scalars,
    single_trait,
    small_texts,
    small_values,
    texts,
    trait_maps,
)

_TRICKY_IDS: Final = ("u1", "a/b", "..", ".", "google-oauth2|abc", "%2F", "é", "a b?c#d", " u1 ", "null")
_VENDOR_IDS: Final = ({"fullstory": "7449164135934483470"}, {"fullstory": ".."}, {"other": "a/b"})
_TYPES: Final = sorted(TRAIT_TYPES)
# Maximum length of a small text. Its characters may take four bytes each.
_MAX_SMALL_LEN: Final = 40


def user_ids() -> st.SearchStrategy[str]:
    """Return a strategy for application ids, including ids that no path can contain and ids around common limits."""
    return st.one_of(texts(min_size=1), st.sampled_from((*_TRICKY_IDS, *_LONG_IDS)))


_LONG_IDS: Final = tuple(
    width * (maximum // len(width.encode("utf-16-le")) * 2 + step)
    for width in WIDTHS
    for maximum in (50, 200, 256, 1024)
    for step in (0, 1)
)


@attrs.frozen
class _Field:
    """A field of `UserTraits` other than its traits."""

    name: str
    value: Any = attrs.field(repr=False)


def user_traits(**fixed: st.SearchStrategy[Any]) -> st.SearchStrategy[UserTraits]:
    """Return a strategy for users of every kind: any id or none, any values, tricky names, texts around common limits.

    Args:
        **fixed: Strategies for single fields of `UserTraits`, instead of the default ones.
    """
    user_id = {} if "user_id" in fixed else {"user_id": st.one_of(user_ids(), st.none())}
    fields = [
        strategy.map(partial(_Field, name)) for name, strategy in _field_strategies().items() if name not in fixed
    ]
    traits = [] if "traits" in fixed else _trait_strategies()
    return st.builds(_build_user, st.lists(st.one_of(*traits, *fields), max_size=4), **user_id, **fixed)


def _trait_strategies() -> list[st.SearchStrategy[tuple[str, Any]]]:
    # One strategy per kind of value, since every choice costs a tenth of the time.
    named = [st.tuples(colliding_names(), kind) for kind in (scalars(), lists(), st.sampled_from([REMOVE, None, ""]))]
    return [*named, st.tuples(texts(), texts()), st.tuples(colliding_names(), trait_maps(max_size=2))]


def _field_strategies() -> dict[str, st.SearchStrategy[Any]]:
    return {
        "name": st.one_of(texts(), long_texts(256, 1024)),
        "email": st.one_of(texts(), st.just("ada@example.com"), long_texts(128, 1024)),
        "observed_at": datetimes(),
        "types": st.dictionaries(colliding_names(), st.sampled_from(_TYPES), max_size=2),
        "vendor_ids": st.sampled_from(_VENDOR_IDS),
    }


# Built from a list of items rather than field by field, so that small users are fast to draw and shrink to nothing.
def _build_user(items: list[_Field | tuple[str, Any]], **fields: Any) -> UserTraits:  # noqa: ANN401  # As `UserTraits` takes.
    for item in items:
        if isinstance(item, _Field):
            fields[item.name] = item.value
        else:
            name, value = item
            fields.setdefault("traits", {})[name] = value
    return UserTraits(**fields)


def valid_users(limits: Limits, *, values: st.SearchStrategy[Any] | None = None) -> st.SearchStrategy[UserTraits]:
    """Return a strategy for users well within all *limits*: every vendor must accept them without a loss.

    Args:
        limits: A vendor's limits.
        values: Strategy for values of traits, where a vendor has rules beyond its limits; by default `small_values`.
    """
    value = small_values() if values is None else values
    items: list[st.SearchStrategy[_Field | tuple[str, Any]]] = [
        st.tuples(safe_names(), value),
        st.tuples(safe_names(), single_trait(safe_names(), value)),
        _small_email(limits.email).map(partial(_Field, "email")),
        recent_datetimes().map(partial(_Field, "observed_at")),
    ]
    return st.builds(
        _build_user,
        st.lists(st.one_of(items), max_size=3),
        user_id=_small_text(limits.user_id, "u{}v"),
        # A user with only an id may be skipped.
        name=_small_text(limits.name, "N{}n"),
    )


def _small_text(limit: Limit | None, template: str) -> st.SearchStrategy[str]:
    """Return a strategy for texts within *limit* that every vendor accepts: with letters at both ends."""
    longest = _MAX_SMALL_LEN if limit is None else min(_MAX_SMALL_LEN, limit.safe_length - len(template))
    return small_texts(max_size=longest).map(template.format)


def _small_email(limit: Limit | None) -> st.SearchStrategy[str]:
    longest = _MAX_SMALL_LEN if limit is None else min(_MAX_SMALL_LEN, limit.safe_length - len(_DOMAIN))
    return st.text(_LETTERS, min_size=1, max_size=longest).map(f"{{}}{_DOMAIN}".format)


_DOMAIN: Final = "@example.com"
_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz"
