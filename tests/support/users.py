"""Users to send to vendors."""

from typing import Any

from replay_identity import UserTraits


def user(user_id: str = "u1", **traits: Any) -> UserTraits:
    """Return a user with *traits*."""
    return UserTraits(user_id, traits=traits)


def users(count: int, **traits: Any) -> list[UserTraits]:
    """Return the users u0, u1, ..., with *traits*."""
    return [user(f"u{number}", **traits) for number in range(count)]
