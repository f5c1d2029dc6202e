"""The names that a property cannot have, or a value within one."""


def rule_against_property(name: str) -> str | None:
    """Return the rule that *name* breaks as the name of a property, or None."""
    if not name:
        return "empty-name"  # What PostHog makes of it is not documented.
    if name.startswith("$"):
        return "reserved-name"  # PostHog's own properties, which mean something to it.
    return rule_against(name)


def rule_against(name: str) -> str | None:
    """Return the rule that *name* breaks at any depth, or None."""
    if name == "__proto__":
        # An object in JavaScript loses what is put there (nodejs/src/ingestion/common/persons/person-update.ts in
        # github.com/PostHog/posthog, read 2026-11-21).
        return "reserved-name"
    # PostgreSQL cannot hold it, so PostHog would put U+FFFD there without a word.
    return "nul-character" if "\0" in name else None
