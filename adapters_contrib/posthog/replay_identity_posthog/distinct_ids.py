"""Reject the ids for which PostHog creates no person, and those that it would change."""

from typing import Final

from replay_identity.adapters import Adaptation

from .limits import DISTINCT_ID

# Placeholders that clients send by mistake. All their users would become one person, so PostHog keeps the event and
# creates no person (rust/capture/src/v1/analytics/constants.rs, and for ids in quotes
# nodejs/src/ingestion/common/persons/person-merge-service.ts, in github.com/PostHog/posthog, read 2026-11-21). Most are
# placeholders for every vendor; `allow_ids` allows them elsewhere, but not here.
_ILLEGAL: Final = frozenset(
    (
        *("0", "false", "nan", "none", "null", "true", "undefined", "[object object]"),
        *("anonymous", "anonymous-user", "backend", "guest", "not_authenticated", "system", "user"),
        *("distinct_id", "distinctid", "email", "id", "00000000-0000-0000-0000-000000000000"),
    )
)
_QUOTES: Final = frozenset("'\"")


def check_distinct_id(user_id: str | None, adaptation: Adaptation) -> None:
    """Record a violation unless PostHog creates a person with exactly *user_id*, even when adapting."""
    if adaptation.violations:
        return  # A rule of every vendor already says what is wrong.
    if user_id is None:
        adaptation.reject("user_id", "anonymous-user")
    elif user_id != user_id.strip():
        # PostHog trims ids, and the trimmed id may be another user's.
        adaptation.reject("user_id", "outer-blanks")
    elif "\0" in user_id:
        adaptation.reject("user_id", "nul-character")
    elif _unquoted(user_id).lower() in _ILLEGAL:
        adaptation.reject("user_id", "illegal-distinct-id")
    else:
        adaptation.check("user_id", user_id, DISTINCT_ID)


def _unquoted(text: str) -> str:
    return text[1:-1] if text[0] in _QUOTES and text[-1] == text[0] else text
