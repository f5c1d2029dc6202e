"""A user in PostHog's words: the properties of one ``$set`` event."""

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import orjson

from replay_identity.adapters import REMOVE, Adaptation, UserTraits

from .limits import EVENT
from .names import rule_against_property
from .values import word_value

# Names to values as JSON has them, and to REMOVE where the property is to go.
Words: TypeAlias = dict[str, Any]

# The quotes are counted with the name and the value; these are the colon and the comma.
_PUNCTUATION: Final = 2


def word_user(user: UserTraits, adaptation: Adaptation) -> Words:
    """Return what is said of *user*, and record in *adaptation* what had to give."""
    # PostHog has no fields of its own for these; by convention, they are properties of these names.
    own = {name: text for name, text in (("name", user.name), ("email", user.email)) if text is not None}
    words = {name: word_value(text, name, adaptation) for name, text in own.items()}
    for name, value in user.traits.items():
        path = f"traits.{name}"
        if (rule := rule_against_property(name)) is not None:
            adaptation.drop(path, rule)
        elif name in own:
            # Said twice is no collision.
            if value != own[name]:
                adaptation.reject(path, "name-collision")
        else:
            words[name] = value if value is REMOVE else word_value(value, path, adaptation)
    # What is said of one item of a list need not be said of the next.
    adaptation.adjustments[:] = dict.fromkeys(adaptation.adjustments)
    adaptation.violations[:] = dict.fromkeys(adaptation.violations)
    return {name: word for name, word in words.items() if word is not None}


def properties_of(words: Words) -> Mapping[str, Any]:
    """Return the properties of the event that says *words*."""
    to_set = {name: word for name, word in words.items() if word is not REMOVE}
    to_unset = [name for name, word in words.items() if word is REMOVE]
    return {
        # Else PostHog takes the place where this request comes from for the place where the user is
        # (https://posthog.com/docs/cdp/geoip-enrichment, and PyPI posthog 7.91.1, client.py, read 2026-11-21).
        "$geoip_disable": True,
        **({"$set": to_set} if to_set else {}),
        **({"$unset": to_unset} if to_unset else {}),
    }


def without_largest(words: Words, size: int, user: UserTraits, adaptation: Adaptation) -> Words:
    """Return as many of *words* as fit into an event, which would be of *size* bytes with all of them.

    The largest are dropped if we adapt; if not, they are violations.
    """
    kept, left = dict(words), size
    sizes = {name: _size(name, word) for name, word in words.items()}
    for name in sorted(sizes, key=sizes.__getitem__, reverse=True):
        if left <= EVENT.maximum:
            break
        path = name if name in {"name", "email"} and getattr(user, name) is not None else f"traits.{name}"
        if adaptation.adapt:
            adaptation.record(path, "dropped", EVENT.rule)
        else:
            adaptation.reject_over(path, EVENT, size)
        del kept[name]
        left -= sizes[name]
    return kept


def _size(name: str, word: Any) -> int:  # noqa: ANN401  # JSON.
    """Return how many bytes smaller an event is without *name*, at the least."""
    if word is REMOVE:
        return len(orjson.dumps(name)) + 1
    return len(orjson.dumps(name)) + len(orjson.dumps(word)) + _PUNCTUATION
