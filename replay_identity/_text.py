"""Format numbers for people."""


def pluralize(count: int, noun: str, plural: str | None = None) -> str:
    """Return *count* with its noun: ``1 user``, ``2,000 users``; *plural* is *noun* with an ``s`` unless given."""
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"
