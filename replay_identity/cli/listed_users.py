"""The users that `replay-identity forget` is to delete: from its arguments, a list of ids, or a file of users."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import attrs
import typer

from .._text import pluralize
from .._values import checked_id
from ..deletion import is_email
from ..errors import InvalidTraitsError
from ..sources import BadRow
from ..sources.files import find_files
from ..sources.lines import TOO_LONG, read_lines
from ..traits import USER_ID_KEYS, own_field
from .exit_codes import ExitCode
from .inputs import read_rows
from .options import SourceOptions
from .terminal import stderr_console

# The suffixes of a list of ids; any other says how users are written.
_LIST_SUFFIXES: Final = frozenset({"", ".txt", ".list", ".lst", ".ids"})
_COMPRESSED_SUFFIXES: Final = frozenset({".gz", ".gzip", ".zst", ".zstd", ".bz2", ".xz", ".zip"})
_MAX_PROBLEMS: Final = 20
# A line of a table, of JSON Lines or of comments.
_IN_TABLE: Final = re.compile(r"[,;\t{]|^#")


@attrs.frozen
class ListedUser:
    """A user to delete, and where they are named.

    Attributes:
        place: Where, for a person to read: ``line 3``.
        user_id: Your own id of the user, or None.
        email: E-mail address of everybody to delete, or None.
        problem: Why nobody can be deleted by this name, or None.
    """

    place: str
    user_id: str | None = attrs.field(default=None, repr=False)
    email: str | None = attrs.field(default=None, repr=False)
    problem: str | None = None


def list_users(
    user_ids: Sequence[str], file: Path | None, source: SourceOptions, emails: Sequence[str]
) -> list[ListedUser]:
    """Return the users in the arguments, then those in *file* or the query, then the e-mail addresses; each once.

    Print what is wrong, and exit, if a name is invalid.

    Raises:
        InvalidTraitsError: There is only one argument, and it is not a valid id.
        SourceError: The file cannot be read.
    """
    has_rows = file is not None or source.sql is not None
    if len(user_ids) == 1 and not has_rows and not emails:
        return [ListedUser("argument 1", checked_id(user_ids[0]))]
    listed = [
        *(_listed_id(f"argument {number}", user_id) for number, user_id in enumerate(user_ids, 1)),
        *(_users_in_rows(file, source) if has_rows else ()),
        *(_listed_email(f"e-mail address {number}", email) for number, email in enumerate(emails, 1)),
    ]
    if not listed:
        problem = "the source names no user" if has_rows else "expected an id, --from or --email"
        raise typer.BadParameter(problem, param_hint="--from, --sql" if has_rows else "USER_ID")
    if problems := [f"{user.place}: {user.problem}" for user in listed if user.problem is not None]:
        _exit_with(problems)
    return _each_once(listed)


def _each_once(listed: Sequence[ListedUser]) -> list[ListedUser]:
    """Return *listed* without repeated users, and print how many there are."""
    first: dict[tuple[str | None, str | None], ListedUser] = {}
    for user in listed:
        first.setdefault((user.user_id, user.email), user)
    if repeated := len(listed) - len(first):
        stderr_console().print(f"{pluralize(repeated, 'repetition')} of a user left out.", soft_wrap=True)
    return list(first.values())


def _exit_with(problems: Sequence[str]) -> None:
    console = stderr_console()
    for problem in problems[:_MAX_PROBLEMS]:
        console.print(problem, soft_wrap=True)
    if len(problems) > _MAX_PROBLEMS:
        console.print(f"… and {len(problems) - _MAX_PROBLEMS:,} more", soft_wrap=True)
    console.print(f"{pluralize(len(problems), 'problem')}; nobody was deleted.", soft_wrap=True)
    raise typer.Exit(ExitCode.USAGE)


def _users_in_rows(file: Path | None, source: SourceOptions) -> Iterator[ListedUser]:
    has_only_encoding = source == SourceOptions(encoding=source.encoding)
    if file is not None and has_only_encoding and (str(file) == "-" or _suffix(file) in _LIST_SUFFIXES):
        return _ids_in_lines(file, source.encoding)
    return _ids_of_rows(file, source)


def _suffix(file: Path) -> str:
    name = Path(file.name.lower())
    while name.suffix in _COMPRESSED_SUFFIXES:
        name = name.with_suffix("")
    return name.suffix


def _ids_of_rows(file: Path | None, source: SourceOptions) -> Iterator[ListedUser]:
    for row in read_rows([] if file is None else [str(file)], source):
        if isinstance(row, BadRow):
            yield ListedUser(str(row).removesuffix(f": {row.problem}"), problem=row.problem)
        else:
            yield ListedUser(f"line {row.line}", row.user.user_id)


def _ids_in_lines(file: Path, encoding: str | None) -> Iterator[ListedUser]:
    """Yield the id on each line of a text that is not blank."""
    for found in find_files(file, format="jsonl", encoding=encoding):  # The format says that it is text, nothing else.
        with found.open_text() as stream:
            for number, content in read_lines(stream, found.name):
                if content is None or content.strip():
                    yield _id_on_line(number, content)


def _id_on_line(number: int, content: bytes | None) -> ListedUser:
    place = f"line {number}"
    if content is None:
        return ListedUser(place, problem=TOO_LONG)
    try:
        text = content.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        return ListedUser(place, problem="not valid UTF-8; pass its --encoding")
    if text != text.strip():
        return ListedUser(place, problem="there are blanks around the id; remove them, or pass the id as an argument")
    if number == 1 and own_field(text) in USER_ID_KEYS:
        return ListedUser(place, problem="this is a header; remove it, or pass --format csv")
    if _IN_TABLE.search(text):
        problem = "this is not a single id; for a table pass --format, or pass the id as an argument"
        return ListedUser(place, problem=problem)
    return _listed_id(place, text)


def _listed_id(place: str, user_id: str) -> ListedUser:
    try:
        return ListedUser(place, checked_id(user_id))
    except InvalidTraitsError as error:
        return ListedUser(place, problem=error.problem)


def _listed_email(place: str, email: str) -> ListedUser:
    return ListedUser(place, email=email) if is_email(email) else ListedUser(place, problem="no e-mail address")
