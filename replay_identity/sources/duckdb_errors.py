"""Say why DuckDB refused a query or a file, without a value of a row or of the query.

DuckDB quotes values in its messages: the text that is not a number, the line of a file, the document that is not JSON.
So a message is shown only if it is one of the known messages below, with ``…`` for each value in it. It shows the names
that the query has outside of its quotes, and those of its columns. All other text is hidden.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Final

import attrs
import duckdb

from ..errors import printable

HIDDEN: Final = "…"
_HIDDEN_REASON: Final = "its message is not shown, because it may quote values"

# These describe the query before any row is read, in DuckDB's own words and the names of the query.
_QUERY_ERRORS: Final = (duckdb.ParserException, duckdb.CatalogException, duckdb.BinderException, duckdb.SyntaxException)

# {v} hides a value, {rest} leaves it out, {n} and {word} show it. {name}, {types} and {file} show what is known.
_MESSAGES: Final[Sequence[str]] = (
    "Could not convert string {v} to {types}",
    "Could not cast string to {types}: {v}",
    "Type {types} with value {v} can't be cast because the value is out of range for the destination type {types}",
    "Type {types} with value {v} can't be cast to the destination type {types}",
    "Type {types} can't be cast as {types}. The member {name} is not present in target union",
    "Type {types} does not match with {types}. Cannot cast STRUCTs of different size",
    "Casting value {v} to type {types} failed: value is out of range!",
    "Could not cast value {v} to named parameter {name} of type {types}: {v}",
    "Could not cast value {v} to {types}",
    "Can't convert VARIANT({types}) value {v} to {types}",
    "Failed to cast decimal value {v} to type {types}",
    "Failed to cast value to numerical: {v}",
    "Failed to cast value to decimal: {v}",
    "Failed to cast value: Could not convert string {v} to {types}",
    "Unimplemented type for cast ({types} -> {types})",
    "Cannot combine types {types} and {types} - an explicit cast is required",
    "Cannot cast array of size {n} to array of size {n}",
    "Cannot cast list with length {n} to array with length {n}",
    "Cannot cast to list of JSON. Input {v}",
    "invalid date field format: {v}, expected format is (YYYY-MM-DD)",
    "date field value out of range: {v}",
    "date field value out of range: {v}, expected format is (YYYY-MM-DD)",
    "invalid timestamp field format: {v}, expected format is (YYYY-MM-DD HH:MM[:SS[.US]][±HH[:MM[:SS]]| ZONE])",
    "timestamp field value out of range: {v}, expected format is (YYYY-MM-DD HH:MM[:SS[.US]][±HH[:MM[:SS]]| ZONE])",
    "timestamp field value out of range: {v}",
    "time field value out of range: {v}, expected format is ([YYYY-MM-DD ]HH:MM:SS[.MS])",
    "time field value out of range: {v}",
    "interval field value out of range: {v}",
    "Date out of range: {v}",
    "Date out of range in timestamp conversion",
    "extract specifier {v} not recognized",
    "Unknown TimeZone {v}!{rest}",
    "Could not parse string {v} according to format specifier {v}",
    "Failed to parse format specifier {v}: Unrecognized format for strftime/strptime: {v}",
    "Failed to parse format specifier {v}",
    "Invalid character encountered in string -> bit conversion: {v}",
    "Invalid input for hex digit: {v}",
    "Could not decode string {v} as base64: {v}",
    "Invalid UTF8 Codepoint {v}",
    "Invalid UTF8 found in string {v}",
    "Invalid unicode (byte sequence mismatch) detected in {v}",
    "Failure in decode: could not convert blob to UTF8 string, the blob contained invalid UTF8 characters.{rest}",
    "Malformed JSON at byte {n} of input: unexpected character.{rest}",
    "Malformed JSON at byte {n} of input: unexpected end of data.{rest}",
    "Malformed JSON at byte {n} of input: {v}",
    "Malformed JSON in file {file}, at byte {n} in line {n}: unexpected character.{rest}",
    "Malformed JSON in file {file}, at byte {n} in record/value {n}: unexpected character.{rest}",
    "Malformed JSON in file {file}, at byte {n} in line {n}: unexpected end of data.{rest}",
    "Malformed JSON in file {file}, at byte {n} in record/value {n}: unexpected end of data.{rest}",
    "Malformed JSON in file {file}, at byte {n} in line {n}: {v}",
    "Malformed JSON in file {file}, at byte {n} in record/value {n}: {v}",
    "JSON transform error in file {file}, in line {n}: Failed to cast value to numerical: {v}",
    "JSON transform error in file {file}, in record/value {n}: Failed to cast value to numerical: {v}",
    "JSON transform error in file {file}, in line {n}: {v}",
    "JSON transform error in file {file}, in record/value {n}: {v}",
    "Overflow in addition of {types} ({v})!",
    "Overflow in subtraction of {types} ({v})!",
    "Overflow in multiplication of {types} ({v})!",
    "Overflow in division of {v}",
    "Overflow in negation of {v}",
    "Overflow on abs({v})",
    "SUM is out of range!",
    "Value out of range",
    "Division by zero in expression {v}. Use TRY(...) to return NULL for this expression{rest}",
    "Division by zero{rest}",
    "cannot take square root of a negative number",
    "cannot take logarithm of zero",
    "cannot take logarithm of a negative number",
    "missing ): {v}",
    "missing ]: {v}",
    "unexpected ): {v}",
    "bad repetition operator: {v}",
    "no argument for repetition operator: {v}",
    "invalid escape sequence: {v}",
    "invalid perl operator: {v}",
    "invalid character class range: {v}",
    "invalid named capture group: {v}",
    "Unrecognized Regex option {v}",
    "Map keys must be unique.",
    "Map keys can not be NULL.",
    "The map key list does not align with the map value list.",
    "More than one row returned by a subquery used as an expression{rest}",
    "Invalid type specifier {v} for formatting a value of type {v}",
    "Argument for ntile must be greater than zero",
    "Invalid escape string. Escape string must be empty or one character.",
    "The delimiter option cannot exceed a size of {n} bytes.",
    "The {name} option cannot exceed a size of {n} byte.",
    "The CSV Reader does not support the encoding: {v}",
    "Error when sniffing file {file}.\nIt was not possible to automatically detect the CSV parsing dialect{rest}",
    "Error when sniffing file {file}.{v}",
    "read_text: could not read content of file {file} as valid UTF-8 encoded text.{rest}",
    "No files found that match the pattern {file}",
    "Cannot open file {file}: No such file or directory",
    "Cannot open file {file}: Permission denied",
    "Cannot open file {file}: Is a directory",
    "Cannot open file {file}: {v}",
    "Could not read from file {file}: {v}",
    "Could not set lock on file {file}: Conflicting lock is held in {v}",
    "Could not set lock on file {file}: {v}",
    "The file {file} exists, but it is not a valid DuckDB database file!",
    "Trying to read a database file with version number {n}, but we can only read {v}",
    "File {file} too small to be a Parquet file",
    "No magic bytes found at end of file {file}",
    "File {file} requires the extension {word} to be loaded{rest}",
    "Table Function with name {name} is not in the catalog, but it exists in the {word} extension.{rest}",
    "Scalar Function with name {name} is not in the catalog, but it exists in the {word} extension.{rest}",
    "Values were not provided for the following parameters: {v}",
    "could not allocate block of size {v}",
    "failed to allocate data of size {v}",
    "failed to offload data block of size {v}",
)
# What an error about a CSV file says below the line that it quotes, and how it is shown.
_CSV_MESSAGES: Final[Mapping[str, str]] = {
    "Column {name} is being converted as type {types}": (
        "Could not convert column {name} to {types}; set its type, or all_varchar = true"
    ),
    "Expected Number of Columns: {n} Found: {n}": "Expected Number of Columns: {n} Found: {n}",
    "Invalid unicode (byte sequence mismatch) detected. This file is not {v} encoded.": (
        "Invalid unicode (byte sequence mismatch) detected; set encoding"
    ),
    "Value with unterminated quote found.": "Value with unterminated quote found; set quote and escape",
    "Maximum line size of {n} bytes exceeded. Actual Size:{n} bytes.": "Maximum line size of {n} bytes exceeded",
}
# The words of DuckDB's messages about queries; no name is recognized by them.
_WORD_LIST: Final = """
    a add aggregate aggregates alias all also ambiguous an and any appear applied apply are argument arguments array
    as at available base be because been before best between binder but by call called calls can candidate cannot
    case cast casts catalog change character child choose clause coalesce column columns combine compare condition
    constant contain contains correlated could create cross csv cte cycle data database deduce definition deprecated
    detected did different distinct do does duplicate either elements empty end entries entry error exactly exclude
    exist existing exists expected explicit expression expressions extension extract failed field file files filter
    find first for format found from function functions given greater group grouped has have having if implemented
    in incompatible input instead integer integer_literal into invalid is it join joins json key lambda lateral
    length limit list lists literal macro many match matches matching mean member might missing mix must name named
    names near need negative nested new no not null number numbers of offset on one only operations operator
    operators option or order other out outer over parameter parameters parse parser part partition pivot please
    position property provided qualify query range recursive reference referenced regex replace required requires
    result results return returned returns right root row rows same sample scalar schema select sequence set should
    similar single size specified star statement string string_literal struct structs subqueries subquery such
    support supported syntax table tables take term than that the this ties to too transition treat type types
    unexpected union unnest unpivot unsupported unterminated use used using value values view was when where which
    window with within without you zero
"""
_WORDS: Final = frozenset(_WORD_LIST.split())
_TYPE_LIST: Final = """
    ANY ARRAY BIGINT BIGNUM BIT BLOB BOOL BOOLEAN DATE DECIMAL DOUBLE ENUM FLOAT GEOMETRY HUGEINT INT INT128 INT16 INT32
    INT64 INT8 INTEGER INTEGER_LITERAL INTERVAL JSON LIST MAP NULL NUMERIC REAL SMALLINT STRING_LITERAL STRUCT TIME
    TIMESTAMP TIMESTAMPTZ TIMESTAMP_MS TIMESTAMP_NS TIMESTAMP_S TIMETZ TINYINT TUPLE UBIGINT UHUGEINT UINT128 UINT16
    UINT32 UINT64 UINT8 UINTEGER UNION USMALLINT UTINYINT UUID VARCHAR VARIANT WITH ZONE
"""
_TYPES: Final = frozenset(_TYPE_LIST.split())

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
_COLUMN: Final = " when casting from source column "
_POSITION: Final = re.compile(r"\n\nLINE (\d{1,6}): .*\Z", re.DOTALL)
_CANDIDATES: Final = re.compile(
    r"\n\s*(?:Did you mean|Candidate (?:bindings|tables|Entries))[\s:]*(?P<names>\".*)\Z", re.DOTALL
)
_CSV_LINE: Final = re.compile(r"CSV Error on Line: (\d{1,12})\n")
_CSV_FILE: Final = re.compile(r"^  file = (.+)$", re.MULTILINE)
_KIND: Final = re.compile(r"[A-Z][A-Za-z ]{1,30} Error: ")
_NAME: Final = re.compile(r"[^\W\d]\w*(?:[ .-]\w+)*")
_SYSTEM_NAMES: Final = ("pg_", "duckdb_", "sqlite_", "information_schema.")
_MAX_CANDIDATES: Final = 5
_URL: Final = re.compile(r"(?P<scheme>[a-z0-9]+://)(?:[^/?#]*@)?(?P<rest>[^?#]*).*", re.DOTALL)
_ERROR_FUNCTION: Final = re.compile(r"\berror\b", re.IGNORECASE)
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
        quoted: What it has in double quotes; these are names only if DuckDB finds no fault in the query.
        literals: What it has in single quotes.
        columns: The columns of its result.
    """

    words: frozenset[str]
    quoted: frozenset[str]
    literals: frozenset[str] = attrs.field(repr=False)
    columns: frozenset[str] = frozenset()

    @classmethod
    def find(cls, sql: str, columns: Iterable[str] = ()) -> "QueryNames":
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


def query_problem(error: duckdb.Error, sql: str, columns: Iterable[str] = ()) -> str:
    """Return what is wrong with the query *sql*, or with the files that it reads.

    Args:
        error: DuckDB's error.
        sql: The query.
        columns: Names of the columns of its result, as far as they are known.
    """
    text, position = _cut_position(str(error), sql)
    names = QueryNames.find(sql, columns)
    if isinstance(error, _QUERY_ERRORS):
        return f"the query is not valid: {_query_reason(text, names)}{position}"
    text = _KIND.sub("", text, count=1)
    # The query can stop with any message of its own, made of values.
    reason = None if _ERROR_FUNCTION.search(sql) else _csv_reason(text, names) or _known_reason(text, names)
    if reason is None:
        return f"cannot be read: {type(error).__name__}{position}; {_HIDDEN_REASON}"
    return f"cannot be read: {reason}{position}"


def database_problem(error: duckdb.Error, database: str) -> str:
    """Return why the file *database* cannot be opened."""
    names = QueryNames(frozenset(), frozenset(), frozenset({database}))
    reason = _known_reason(_KIND.sub("", str(error), count=1), names) or type(error).__name__
    return f"cannot be opened as a DuckDB database: {reason}"


def _cut_position(text: str, sql: str) -> tuple[str, str]:
    """Return the message *text* without the line of the query that it quotes, and the number of the line if helpful."""
    found = _POSITION.search(text)
    if found is None:
        return text, ""
    lines = sql.count("\n") + 1
    position = f" (line {found[1]} of the query)" if 1 <= int(found[1]) <= lines > 1 else ""
    return text[: found.start()], position


def _query_reason(text: str, names: QueryNames) -> str:
    """Return the first line of the message *text* with the words that are DuckDB's own or names of the query."""
    kind, separator, message = text.partition(": ")
    known = _known_reason(message, names)
    if known is not None:
        return f"{kind}{separator}{known}"
    candidates = _CANDIDATES.search(text)
    shown = _keep(text.partition("\n")[0], names.words, _WORDS)
    return shown.rstrip("!. ") + ("" if candidates is None else _suggestion(candidates["names"], names))


def _suggestion(text: str, names: QueryNames) -> str:
    if "pivot" in names.words:  # Makes columns from values.
        return ""
    similar = [
        printable(name.removeprefix("main."))
        for name in re.findall(r'"([^"\n]*)"', text)
        if _NAME.fullmatch(name) and name not in names.literals and not name.startswith(_SYSTEM_NAMES)
    ]
    return f"; did you mean {', '.join(similar[:_MAX_CANDIDATES])}?" if similar else ""


def _csv_reason(text: str, names: QueryNames) -> str | None:
    """Return where a CSV file is wrong, and why if that is known."""
    line = _CSV_LINE.match(text)
    if line is None:
        return None
    files = _CSV_FILE.findall(text)
    where = f"{_file(files[-1], names)}, line {line[1]}" if files else f"line {line[1]}"
    # The text of the line comes first, and may look like a message.
    found = [(match.start(), shown, match) for pattern, shown in _CSV_PATTERNS for match in pattern.finditer(text)]
    if not found:
        return f"{where}: {_HIDDEN_REASON}"
    _, shown, match = max(found, key=lambda item: item[0])
    return f"{where}: {_fill(shown, match, names)}"


def _known_reason(text: str, names: QueryNames) -> str | None:
    head, column, name = text.rpartition(_COLUMN)
    for body, suffix in ((head, f"{column}{_name(name, names)}"), (text, "")):
        for message, pattern in _PATTERNS:
            match = pattern.fullmatch(body)
            if match is not None:
                return _fill(message, match, names) + suffix
    return None


def _fill(message: str, match: re.Match[str], names: QueryNames) -> str:
    """Return the *message* with what may be shown of the texts in its holes."""
    texts = iter(match.groups())
    shown = _HOLE.sub(lambda hole: _SHOW[hole[1]](next(texts), names), message)
    return _MANY_HIDDEN.sub(HIDDEN, shown)


def _name(text: str, names: QueryNames) -> str:
    """Return a name of the query, with or without quotes."""
    bare = text.strip("\"'").lower()
    known = bare in names.words or bare in names.quoted or bare in names.columns
    return printable(text.strip("\"'")) if known else HIDDEN


def _types(text: str, names: QueryNames) -> str:
    return _keep(text.strip("\"'"), names.words)


def _file(text: str, names: QueryNames) -> str:
    """Return the name of a file that the query names, or matches with a pattern."""
    bare = text.strip("\"'")
    known = any(
        bare == literal or fnmatchcase(bare, literal) or bare.endswith(f"/{literal}") for literal in names.literals
    )
    return printable(_URL.sub(r"\g<scheme>\g<rest>", bare)) if known else HIDDEN


def _keep(text: str, names: Collection[str], words: Collection[str] = frozenset()) -> str:
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
        return f"{quote}{_keep(inner, names)}{quote}"
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


def _pattern(message: str) -> str:
    """Return the regular expression of a message with holes."""
    pieces = _HOLE.split(message)
    return "".join(_HOLES[piece] if index % 2 else re.escape(piece) for index, piece in enumerate(pieces))


_SHOW: Final[Mapping[str, Callable[[str, QueryNames], str]]] = {
    "v": lambda _text, _names: HIDDEN,
    "rest": lambda _text, _names: "",
    "n": lambda text, _names: text,
    "word": lambda text, _names: text,
    "name": _name,
    "types": _types,
    "file": _file,
}
_PATTERNS: Final = [(message, re.compile(_pattern(message), re.DOTALL)) for message in _MESSAGES]
_CSV_PATTERNS: Final = [
    (re.compile(f"^{_pattern(message)}$", re.MULTILINE), shown) for message, shown in _CSV_MESSAGES.items()
]
