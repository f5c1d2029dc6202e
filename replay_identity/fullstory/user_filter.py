"""Which of Fullstory's users to list."""

from typing import Any, Final

import attrs

from ..values import checked_string


def _check_text(_instance: object, attribute: "attrs.Attribute[Any]", text: str | None) -> None:
    if text is not None:
        checked_string(text, attribute.name)


@attrs.frozen(kw_only=True)
class UserFilter:
    """Which users to list; those that match every field given, and all users where none is.

    Attributes:
        uid: The application's id.
        email: The e-mail address.
        display_name: The name.
        is_identified: Whether the user has a uid.
    """

    uid: str | None = attrs.field(default=None, repr=False, validator=_check_text)
    email: str | None = attrs.field(default=None, repr=False, validator=_check_text)
    display_name: str | None = attrs.field(default=None, repr=False, validator=_check_text)
    is_identified: bool | None = None

    def query(self) -> dict[str, str]:
        """Return the query parameters that ask for these users."""
        given = attrs.asdict(self, filter=lambda _, value: value is not None)
        return {name: value if isinstance(value, str) else str(value).lower() for name, value in given.items()}


EVERYONE: Final = UserFilter()
