"""The ids that PostHog makes no person of, and those that it would change."""

from typing import Final

from replay_identity.adapters import Adaptation

from .limits import DISTINCT_ID

# Placeholders that clients send by mistake. Merging would join everybody who has one, so PostHog keeps the event and
# makes no person of it (rust/capture/src/v1/analytics/constants.rs, and for those in quotes
# nodejs/src/ingestion/common/persons/person-merge-service.ts, in github.com/PostHog/posthog, read 2026-11-21).
_ILLEGAL: Final = frozenset(
    (
        *("0", "false", "nan", "none", "null", "true", "undefined", "[object object]"),
        *("anonymous", "anonymous-user", "backend", "guest", "not_authenticated", "system", "user"),
        *("distinct_id", "distinctid", "email", "id", "00000000-0000-0000-0000-000000000000"),
    )
)
_QUOTES: Final = frozenset("'\"")


def check_distinct_id(user_id: str | None, adaptation: Adaptation) -> None:
    """Record a violation unless PostHog knows a person by exactly *user_id*; none of these may be mended."""
    if user_id is None:
        adaptation.reject("user_id", "anonymous-user")
    elif user_id != user_id.strip():
        # PostHog trims ids, and the trimmed one may be somebody else's.
        adaptation.reject("user_id", "outer-blanks")
    elif "\0" in user_id:
        adaptation.reject("user_id", "nul-character")
    elif _unquoted(user_id).lower() in _ILLEGAL:
        adaptation.reject("user_id", "illegal-distinct-id")
    else:
        adaptation.check("user_id", user_id, DISTINCT_ID)


def _unquoted(text: str) -> str:
    return text[1:-1] if text[0] in _QUOTES and text[-1] == text[0] else text
