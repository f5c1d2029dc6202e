"""The users that `replay-identity forget` is to delete: from its arguments, a list of ids, or a file of users."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
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
from ..sources.remote import URL_SETTINGS, is_url
from ..traits import USER_ID_KEYS, own_field
from .exit_codes import ExitCode
from .inputs import read_rows
from .options import SourceOptions
from .tables import print_notes
from .terminal import stderr_console

# The suffixes of a list of ids; any other says how users are written.
_LIST_SUFFIXES: Final = frozenset({"", ".txt", ".list", ".lst", ".ids"})
_COMPRESSED_SUFFIXES: Final = frozenset({".gz", ".gzip", ".zst", ".zstd", ".bz2", ".xz", ".zip"})
_MAX_PROBLEMS: Final = 20
# A line of a table, of JSON Lines or of comments.
_IN_TABLE: Final = re.compile(r"[,;\t{]|^#")
_QUOTES: Final = frozenset("\"'`´‘’‚“”„«»‹›")  # noqa: RUF001  # The quotes that people type.
# Names of columns with ids, by their last word: customer_id, customerId, Kundennummer.
_HEADER: Final = re.compile(
    r"(?i:(.*[\W_])?(id|ids|uid|uuid|guid|key|number|no|nr|identifier)\.?|.*[a-z](nummer|kennung|schlüssel|numéro))"
    r"|(?i:users?|user ?names?|logins?|customers?|accounts?|e-?mails?|names?)|.*[a-z]I[dD]s?"
)
# A name in letters, above ids that all begin like u1, cus_1 or 4711.
_WORDS: Final = re.compile(r"([A-Z]?[a-zà-öø-ÿ]+|[A-Z]+)([ _-]([A-Z]?[a-zà-öø-ÿ]+|[A-Z]+))*")
_NUMBERED: Final = re.compile(r"[^\W\d_]{0,3}[_-]?[0-9]")
_IS_HEADER: Final = "this looks like a header; remove it, or pass --format csv; if it is an id, pass it as an argument"


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
    user_ids: Sequence[str], file: str | None, source: SourceOptions, emails: Sequence[str]
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


def _users_in_rows(file: str | None, source: SourceOptions) -> Iterator[ListedUser]:
    has_only_encoding = source == SourceOptions(encoding=source.encoding)
    if file is not None and has_only_encoding and (file == "-" or _suffix(file) in _LIST_SUFFIXES):
        return _ids_in_lines(file, source.encoding)
    return _ids_of_rows(file, source)


def _suffix(file: str) -> str:
    name = PurePosixPath(URL_SETTINGS.sub("", file.lower()) if is_url(file) else Path(file).name.lower())
    while name.suffix in _COMPRESSED_SUFFIXES:
        name = name.with_suffix("")
    return name.suffix


def _ids_of_rows(file: str | None, source: SourceOptions) -> Iterator[ListedUser]:
    rows = read_rows([] if file is None else [file], source)
    for row in rows:
        if isinstance(row, BadRow):
            yield ListedUser(str(row).removesuffix(f": {row.problem}"), problem=row.problem)
        else:
            yield ListedUser(f"line {row.line}", row.user.user_id)
    print_notes(stderr_console(), rows.notes)
    if rows.notes.has_problem:
        yield ListedUser("the source", problem="the mapping does not fit it, as the notes say")


def _ids_in_lines(file: str, encoding: str | None) -> Iterator[ListedUser]:
    """Yield the id on each line of a text that is not blank."""
    for found in find_files(file, format="jsonl", encoding=encoding):  # The format says that it is text, nothing else.
        with found.open_text() as stream:
            lines = read_lines(stream, found.name)
            yield from _checked_header([_id_on_line(*line) for line in lines if line[1] is None or line[1].strip()])


def _checked_header(listed: Sequence[ListedUser]) -> Iterator[ListedUser]:
    """Yield *listed*, with a problem instead of the first id if it is the header of the others."""
    ids = [user.user_id for user in listed if user.user_id is not None]
    for user in listed[:1]:
        is_header = len(ids) > 1 and _WORDS.fullmatch(user.user_id or "") and all(map(_NUMBERED.match, ids[1:]))
        yield ListedUser(user.place, problem=_IS_HEADER) if is_header else user
    yield from listed[1:]


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
    if not _QUOTES.isdisjoint((text[0], text[-1])):
        return ListedUser(place, problem="there are quotes around the id; remove them, or pass the id as an argument")
    if own_field(text) in USER_ID_KEYS or _HEADER.fullmatch(text):
        return ListedUser(place, problem=_IS_HEADER)
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
