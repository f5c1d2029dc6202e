"""Show the messages of a database without the values in them: what is not known to be harmless is hidden.

Databases quote values in their messages: the text that is not a number, the line of a file, the document that is not
JSON.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Final, Self

import attrs

from ..errors import printable

HIDDEN: Final = "…"

# The words of messages about queries; names are not recognized by them.
_WORD_LIST: Final = """
    a add aggregate aggregates alias all also ambiguous an and any appear applied apply are argument arguments array
    as at available base be because been before best between binder but by byte call called calls can candidate
    cannot case cast casts catalog change character child choose clause coalesce column columns combine commands
    compare condition constant contain contains correlated could create cross csv cte cursor cycle data database
    declare deduce definition delimiter denied deprecated detected did different distinct do does duplicate either
    elements empty end entries entry error escape exactly exclude exist existing exists expected explicit expression
    expressions extension extract failed field file files filter find first for format found from function functions
    given greater group grouped has have having header if implemented in incompatible input insert instead integer
    integer_literal into invalid is it join joins json key lambda lateral length limit list lists literal longer
    macro many match matches matching mean member might missing mix modifying multiple must name named names near
    need negative nested new no not null number numbers of offset on one only operations operator operators option
    or order other out outer over parameter parameters parse parser part partition permission pivot please position
    prepared property provided qualify query quote range recursive reference referenced regex relation replace
    required requires result results return returned returns right root row rows same sample scalar schema select
    sequence set should similar single size specification specified star statement statements string string_literal
    struct structs subqueries subquery such support supported syntax table tables take term than that the this ties
    to too transition treat type types unexpected union unnest unpivot unsupported unterminated use used using value
    values versa vice view was when where which window with within without you zero
"""
WORDS: Final = frozenset(_WORD_LIST.split())
_TYPE_LIST: Final = """
    ANY ARRAY BIGINT BIGNUM BIT BLOB BOOL BOOLEAN DATE DECIMAL DOUBLE ENUM FLOAT GEOMETRY HUGEINT INT INT128 INT16 INT32
    INT64 INT8 INTEGER INTEGER_LITERAL INTERVAL JSON LIST MAP NULL NUMERIC REAL SMALLINT STRING_LITERAL STRUCT TIME
    TIMESTAMP TIMESTAMPTZ TIMESTAMP_MS TIMESTAMP_NS TIMESTAMP_S TIMETZ TINYINT TUPLE UBIGINT UHUGEINT UINT128 UINT16
    UINT32 UINT64 UINT8 UINTEGER UNION USMALLINT UTINYINT UUID VARCHAR VARIANT WITH ZONE
"""
_TYPES: Final = frozenset(_TYPE_LIST.split())
# PostgreSQL writes types in lower case, and without quotes.
_LOWER_TYPE_LIST: Final = """
    bigint boolean bytea character cidr date double inet integer interval json jsonb numeric precision real smallint
    text time timestamp unknown uuid varying with without zone
"""
_LOWER_TYPES: Final = frozenset(_LOWER_TYPE_LIST.split())

_TOKEN: Final = re.compile(
    r"""
    (?P<comment> --[^\n]* | /\*.*?(?:\*/|\Z) )
  | (?P<literal> [eE]'(?:[^'\\]|\\.|'')*+(?:'|\Z) | '(?:[^']|'')*+(?:'|\Z) | \$(?:[^\W\d]\w*)?\$.* )
  | (?P<quoted> "(?:[^"]|"")*+(?:"|\Z) )
  | (?P<word> [^\W\d]\w* )
    """,
    re.VERBOSE | re.DOTALL,
)
_PIECE: Final = re.compile(
    r"""
    (?P<quoted> (?<!\w)'[^']*' | "[^"]*" )
  | (?P<precision> DECIMAL\(\d{1,2},\s?\d{1,2}\) )
  | (?P<word> [^\W\d]\w*(?:'t\b)? )
  | (?P<plain> [\s(),.:;!?/*+=<>%|\[\]-]+ )
  | .
    """,
    re.VERBOSE | re.DOTALL,
)
_MANY_HIDDEN: Final = re.compile(rf"{HIDDEN}(?:[^\w'\"]*{HIDDEN})+")
_NAME: Final = re.compile(r"[^\W\d]\w*(?:[ .-]\w+)*")
_SYSTEM_NAMES: Final = ("pg_", "duckdb_", "sqlite_", "information_schema.")
_MAX_CANDIDATES: Final = 5
_URL: Final = re.compile(r"(?P<scheme>[a-z0-9]+://)(?:[^/?#]*@)?(?P<rest>[^?#]*).*", re.DOTALL)
_HOLE: Final = re.compile(r"\{(\w+)\}")
_HOLES: Final[Mapping[str, str]] = {
    "v": "(.*)",
    "rest": "(.*)",
    "word": "([a-z_]{1,30})",
    "n": r"(\d{1,12})",
    "name": "([^\n]{1,300})",
    "types": "([^\n]{1,300})",
    "file": "([^\n]{1,4096})",
}


@attrs.frozen
class QueryNames:
    """The names of a query that may be shown, in lower case, and the texts in its quotes.

    Attributes:
        words: What the query has outside of quotes.
        quoted: What it has in double quotes; these are names only if the database finds no fault in the query.
        literals: What it has in single quotes.
        columns: The columns of its result.
    """

    words: frozenset[str]
    quoted: frozenset[str]
    literals: frozenset[str] = attrs.field(repr=False)
    columns: frozenset[str] = frozenset()

    @classmethod
    def find(cls, sql: str, columns: Iterable[str] = ()) -> Self:
        """Return the names in the query *sql*, and those of its *columns*."""
        found: dict[str, set[str]] = {"word": set(), "quoted": set(), "literal": set()}
        for kind, text in _tokens(sql):
            found[kind].add(text)
        return cls(
            words=frozenset(map(str.lower, found["word"])),
            quoted=frozenset(text[1:-1].replace('""', '"').lower() for text in found["quoted"]),
            literals=frozenset(text.strip("eE").strip("'").replace("''", "'") for text in found["literal"]),
            columns=frozenset(map(str.lower, columns)),
        )

    def without_quoted(self) -> Self:
        """Return the names for an error in the query itself, when what is in double quotes may be meant as text."""
        return attrs.evolve(self, quoted=frozenset[str]())


@attrs.frozen
class MessageCatalog:
    """Messages of a database, with holes for what differs.

    ``{v}`` hides a value and ``{rest}`` leaves it out; ``{n}`` and ``{word}`` show a number and a lower-case word;
    ``{name}``, ``{types}`` and ``{file}`` show what the query has too.
    """

    _patterns: list[tuple[str, re.Pattern[str]]]

    @classmethod
    def compile(cls, messages: Iterable[str]) -> "MessageCatalog":
        """Return a catalog of *messages*; of several that match, the first is used."""
        return cls([(message, compile_message(message)) for message in messages])

    def redact(self, text: str, names: QueryNames) -> str | None:
        """Return the message *text* without its values, or None if it is not in the catalog."""
        for message, pattern in self._patterns:
            match = pattern.fullmatch(text)
            if match is not None:
                return fill_message(message, match, names)
        return None


def compile_message(message: str, *, is_line: bool = False) -> re.Pattern[str]:
    """Return the regular expression of a message with holes, or of one that is a line of its own in a longer text."""
    pieces = _HOLE.split(message)
    pattern = "".join(_HOLES[piece] if index % 2 else re.escape(piece) for index, piece in enumerate(pieces))
    return re.compile(f"^{pattern}$", re.MULTILINE) if is_line else re.compile(pattern, re.DOTALL)


def fill_message(message: str, match: re.Match[str], names: QueryNames) -> str:
    """Return the *message* with what may be shown of the texts in its holes."""
    texts = iter(match.groups())
    shown = _HOLE.sub(lambda hole: _SHOW[hole[1]](next(texts), names), message)
    return _MANY_HIDDEN.sub(HIDDEN, shown)


def show_name(text: str, names: QueryNames) -> str:
    """Return a name of the query, with or without quotes; of a dotted one, each part must be known."""
    bare = text.strip("\"'")
    known = names.words | names.quoted | names.columns
    is_known = bare.lower() in known or all(part.lower() in known for part in bare.split("."))
    return printable(bare) if is_known else HIDDEN


def _types(text: str, names: QueryNames) -> str:
    return keep_words(text.strip("\"'"), names.words, _LOWER_TYPES)


def show_file(text: str, names: QueryNames) -> str:
    """Return the name of a file that the query names, or matches with a pattern."""
    bare = text.strip("\"'")
    known = any(
        bare == literal or fnmatchcase(bare, literal) or bare.endswith(f"/{literal}") for literal in names.literals
    )
    return printable(_URL.sub(r"\g<scheme>\g<rest>", bare)) if known else HIDDEN


def keep_words(text: str, names: Collection[str], words: Collection[str] = WORDS) -> str:
    """Return *text* with types, the *names* of the query and, outside of quotes, *words*; all else is hidden."""

    def show(piece: re.Match[str]) -> str:
        match piece.lastgroup:
            case "plain" | "precision":
                return piece[0]
            case "quoted":
                return _keep_quoted(piece[0], names)
            case "word":
                known = piece[0] in _TYPES or piece[0].lower() in names or piece[0].lower() in words
                return printable(piece[0]) if known else HIDDEN
            case _:
                return HIDDEN

    return _MANY_HIDDEN.sub(HIDDEN, _PIECE.sub(show, text))


def _keep_quoted(text: str, names: Collection[str]) -> str:
    quote, inner = text[0], text[1:-1]
    if "(" in inner:  # A call, with the types of its arguments.
        return f"{quote}{keep_words(inner, names, frozenset())}{quote}"
    known = inner in _TYPES or all(part.lower() in names for part in inner.split("."))
    return f"{quote}{printable(inner)}{quote}" if known or not any(map(str.isalnum, inner)) else HIDDEN


def _tokens(sql: str) -> Iterator[tuple[str, str]]:
    """Yield the kind and the text of each word and quote in *sql*.

    A quote that is not closed, or that a letter follows at once, shows that the quotes are not where the author meant
    them to be, as in ``'O'Brien'``. Then no word behind the first quote is known to be outside of quotes.
    """
    tokens = [token for token in _TOKEN.finditer(sql) if token.lastgroup != "comment"]
    first_quote = len(sql)
    if any(_is_misplaced(token, sql) for token in tokens):
        first_quote = min(token.start() for token in tokens if token.lastgroup != "word")
    for token in tokens:
        if token.start() < first_quote and token.lastgroup is not None:
            yield token.lastgroup, token[0]


def _is_misplaced(token: re.Match[str], sql: str) -> bool:
    if token.lastgroup == "word":
        return False
    closes = len(token[0]) > 1 and token[0][-1] == token[0].lstrip("eE")[:1]
    return not closes or sql[token.end() : token.end() + 1].isalnum()


def similar_names(text: str, names: QueryNames) -> str:
    """Return the names in double quotes in *text*, which a database suggests, as a question to append."""
    if "pivot" in names.words:  # Makes columns from values.
        return ""
    similar = [
        printable(name.removeprefix("main."))
        for name in re.findall(r'"([^"\n]*)"', text)
        if _NAME.fullmatch(name) and name not in names.literals and not name.startswith(_SYSTEM_NAMES)
    ]
    return f"; did you mean {', '.join(similar[:_MAX_CANDIDATES])}?" if similar else ""


_SHOW: Final[Mapping[str, Callable[[str, QueryNames], str]]] = {
    "v": lambda _text, _names: HIDDEN,
    "rest": lambda _text, _names: "",
    "n": lambda text, _names: text,
    "word": lambda text, _names: text,
    "name": show_name,
    "types": _types,
    "file": show_file,
}
