"""Say why DuckDB refused a query or a file, without a value of a row or of the query.

DuckDB quotes values in its messages: the text that is not a number, the line of a file, the document that is not JSON.
So a message is shown only if it is one of the known messages below, with ``…`` for each value in it. It shows the names
that the query has outside of its quotes, and those of its columns. All other text is hidden.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import duckdb

from .redaction import (
    MessageCatalog,
    QueryNames,
    compile_message,
    fill_message,
    keep_words,
    show_file,
    show_name,
    similar_names,
)

_HIDDEN_REASON: Final = "its message is not shown, because it may quote values"

# These describe the query before any row is read, in DuckDB's own words and the names of the query.
_QUERY_ERRORS: Final = (duckdb.ParserException, duckdb.CatalogException, duckdb.BinderException, duckdb.SyntaxException)

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
_COLUMN: Final = " when casting from source column "
_POSITION: Final = re.compile(r"\n\nLINE (\d{1,6}): .*\Z", re.DOTALL)
_CANDIDATES: Final = re.compile(
    r"\n\s*(?:Did you mean|Candidate (?:bindings|tables|Entries))[\s:]*(?P<names>\".*)\Z", re.DOTALL
)
_CSV_LINE: Final = re.compile(r"CSV Error on Line: (\d{1,12})\n")
_CSV_FILE: Final = re.compile(r"^  file = (.+)$", re.MULTILINE)
# DuckDB 1.4 puts a sentence before the reason if rows have been read already.
_KIND: Final = re.compile(
    r"(?:[A-Z][A-Za-z ]{1,30} Error: Attempting to [a-z ]{1,80}\nError: )?[A-Z][A-Za-z ]{1,30} Error: "
)
_ERROR_FUNCTION: Final = re.compile(r"\berror\b", re.IGNORECASE)


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
        return f"the query is not valid: {_query_reason(text, names.without_quoted())}{position}"
    text = _without_kind(text)
    # The query can stop with any message of its own, made of values.
    reason = None if _ERROR_FUNCTION.search(sql) else _csv_reason(text, names) or _known_reason(text, names)
    if reason is None:
        return f"cannot be read: {type(error).__name__}{position}; {_HIDDEN_REASON}"
    return f"cannot be read: {reason}{position}"


def database_problem(error: duckdb.Error, database: str) -> str:
    """Return why the file *database* cannot be opened."""
    names = QueryNames(frozenset(), frozenset(), frozenset({database}))
    reason = _known_reason(_without_kind(str(error)), names) or type(error).__name__
    return f"cannot be opened as a DuckDB database: {reason}"


def _without_kind(text: str) -> str:
    kind = _KIND.match(text)
    return text if kind is None else text[kind.end() :]


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
    shown = keep_words(text.partition("\n")[0], names.words)
    return shown.rstrip("!. ") + ("" if candidates is None else similar_names(candidates["names"], names))


def _csv_reason(text: str, names: QueryNames) -> str | None:
    """Return where a CSV file is wrong, and why if that is known."""
    line = _CSV_LINE.match(text)
    if line is None:
        return None
    files = _CSV_FILE.findall(text)
    where = f"{show_file(files[-1], names)}, line {line[1]}" if files else f"line {line[1]}"
    # The text of the line comes first, and may look like a message.
    found = [(match.start(), shown, match) for pattern, shown in _CSV_PATTERNS for match in pattern.finditer(text)]
    if not found:
        return f"{where}: {_HIDDEN_REASON}"
    _, shown, match = max(found, key=lambda item: item[0])
    return f"{where}: {fill_message(shown, match, names)}"


def _known_reason(text: str, names: QueryNames) -> str | None:
    head, column, name = text.rpartition(_COLUMN)
    with_column = _CATALOG.redact(head, names)
    return _CATALOG.redact(text, names) if with_column is None else f"{with_column}{column}{show_name(name, names)}"


_CATALOG: Final = MessageCatalog.compile(_MESSAGES)
_CSV_PATTERNS: Final = [(compile_message(message, is_line=True), shown) for message, shown in _CSV_MESSAGES.items()]
