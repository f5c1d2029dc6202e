"""One user out of the options of the command line."""

import json
from typing import Any, NoReturn

import attrs
import typer

from ..errors import InvalidTraitsError
from ..model import UserTraits
from ..sources import nested
from ..values import REMOVE


@attrs.frozen
class UserOptions:
    """The options that describe one user."""

    user_id: str | None = attrs.field(default=None, repr=False)
    name: str | None = attrs.field(default=None, repr=False)
    email: str | None = attrs.field(default=None, repr=False)
    traits: tuple[str, ...] = attrs.field(default=(), repr=False)
    removals: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self != UserOptions()

    def user(self) -> UserTraits:
        """Return the user.

        Raises:
            InvalidTraitsError: A value cannot be used.
        """
        pairs = [*map(_trait, self.traits), *((name, REMOVE) for name in self.removals)]
        try:
            traits = nested(pairs)
        except InvalidTraitsError as error:
            raise typer.BadParameter(str(error), param_hint="--trait, --remove") from error
        return UserTraits(self.user_id, name=self.name, email=self.email, traits=traits)


def _trait(pair: str) -> tuple[str, Any]:
    """Return the name and the value of ``name=value``."""
    name, equals, text = pair.partition("=")
    if not equals:
        raise typer.BadParameter("write NAME=VALUE", param_hint="--trait")
    return name, value_of(text)


def value_of(text: str) -> Any:  # noqa: ANN401  # A JSON scalar.
    """Return the JSON scalar that *text* is, or *text* itself if it is none: ``43``, ``true``, ``"43"``, ``pro``."""
    try:
        value = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return text
    return text if isinstance(value, dict | list) else value


def _refuse(_constant: str) -> NoReturn:
    """Leave NaN and Infinity the texts that they are: JSON has no such numbers."""
    raise ValueError
