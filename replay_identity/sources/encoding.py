"""Turn text of any encoding, with any line ends, into UTF-8 with line feeds."""

import codecs
import contextlib
import encodings.aliases
import io
import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from functools import partial
from typing import Final

from ..errors import ConfigurationError, SourceError, printable
from .compression import HEAD, buffer

# UTF-32 comes first: its byte order mark begins with that of UTF-16.
_MARKS: Final[Sequence[tuple[bytes, str]]] = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8"),
)
_UTF_8: Final = "utf-8"
# Python counts these as encodings of text, but no file is written in them.
_NOT_OF_FILES: Final = frozenset({"idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined"})
# Shares of bytes that are zero. In UTF-16 all but Latin text has few, but its line ends and delimiters have one each.
_FEW_NUL: Final = 0.1
_SOME_NUL: Final = 0.2
_MANY_NUL: Final = 0.9
# Length in bytes from which these shares say something.
_SHORTEST: Final = 4
# Encodings with the bytes that begin their common characters: kana, the first levels of kanji and hanzi, and Cyrillic.
# That of Western Europe comes last: nearly every sequence of bytes is text in it.
_COMMON: Final[Sequence[tuple[str, range]]] = (
    ("shift_jis", range(0x82, 0x98)),
    ("gb18030", range(0xB0, 0xD8)),
    ("big5", range(0xA4, 0xC7)),
    ("windows-1251", range(0xC0, 0x100)),
)
_WESTERN: Final = "windows-1252"
# Share of such characters in a text. Names in these languages have two or more of them in a row.
_LIKELY: Final = 0.6
# Words of Western Europe, decoded as Cyrillic, have letters of both scripts. Words in Cyrillic have not.
_MIXED_WORD: Final = re.compile(r"[A-Za-z][\u0400-\u04ff]|[\u0400-\u04ff][A-Za-z]")
_FOREIGN_WORD: Final = re.compile(r"[^\x00-\x7f]{2,}")
# In these places, ISO 8859 has control characters that no text has, and the encodings of Windows have characters.
_CONTROL: Final = re.compile(r"[\x80-\x9f]")
_QUOTED: Final = re.compile(r'"[^"]*"')


def check_encoding(encoding: str | None) -> None:
    """Raise ConfigurationError unless Python can read text of *encoding*."""
    if encoding is None or _is_of_text(encoding):
        return
    names = {*encodings.aliases.aliases, *encodings.aliases.aliases.values()}
    similar = get_close_matches(encoding.lower().replace("-", "_"), sorted(filter(_is_of_text, names)), n=1)
    example = "write for example utf-16, windows-1252 or shift_jis"
    hint = f"did you mean {similar[0].replace('_', '-')}?" if similar else example
    raise ConfigurationError("encoding", f"{printable(encoding)} is not an encoding of text", hint)


def _is_of_text(encoding: str) -> bool:
    try:
        if codecs.lookup(encoding).name.replace("-", "_") in _NOT_OF_FILES:
            return False
        b"a".decode(encoding)
    except UnicodeDecodeError:
        return True  # For example UTF-16, in which one byte is not a character.
    except (LookupError, ValueError):
        return False
    return True


def to_utf8(stream: io.BufferedReader, encoding: str | None, name: str) -> io.BufferedReader:
    """Return *stream* in UTF-8 with line feeds as line ends; *stream* itself if it is that already.

    Without *encoding*, UTF-16 and UTF-32 are recognised, and everything else passes as it is: bytes that are not UTF-8
    are for the reader of the rows to report.

    Raises:
        SourceError: *encoding* contradicts the byte order mark. The methods of the stream also raise it,
            for bytes that are not valid in the encoding.
    """
    head = stream.peek()
    encoding = _choose(head, encoding, name)
    has_bare_returns = _has_bare_returns(_decode(head, encoding))
    if encoding is not None:
        return buffer(partial(next, _decoded(stream, encoding, name, has_bare_returns=has_bare_returns), b""), name)
    if has_bare_returns:
        return buffer(lambda: stream.read1(HEAD).replace(b"\r", b"\n"), name)
    return stream


def decode_head(head: bytes, encoding: str | None, name: str) -> str:
    """Return the text that *head* is the start of, with all bytes that are not valid replaced.

    Raises:
        SourceError: *encoding* contradicts the byte order mark.
    """
    return _decode(head, _choose(head, encoding, name))


def _decode(head: bytes, encoding: str | None) -> str:
    return codecs.getincrementaldecoder(encoding or _UTF_8)("replace").decode(head).removeprefix("\ufeff")


def detect_utf(head: bytes) -> str | None:
    """Return which UTF-16 or UTF-32 the text is in that *head* is the start of, or None for another encoding."""
    marked = _marked(head)
    if marked is not None:
        return None if marked == _UTF_8 else marked
    if len(head) < _SHORTEST:
        return None
    shares = [_share_of_nul(head[start::4]) for start in range(4)]
    if min(shares[2:]) > _MANY_NUL and shares[0] < _FEW_NUL:
        return "utf-32-le"
    if min(shares[:2]) > _MANY_NUL and shares[3] < _FEW_NUL:
        return "utf-32-be"
    even, odd = _share_of_nul(head[0::2]), _share_of_nul(head[1::2])
    if max(even, odd) > _SOME_NUL and min(even, odd) < max(even, odd) / 2:
        return "utf-16-le" if odd > even else "utf-16-be"
    return None


def likely_encoding(content: bytes) -> str | None:
    """Return the encoding that *content*, which is not UTF-8, is perhaps in. It is for messages: never decode by it."""
    if (detected := detect_utf(content)) is not None:
        return detected
    if _decode_start(content, _UTF_8) is not None:
        return None
    for encoding, common in _COMMON:
        text = _decode_start(content, encoding)
        if text is not None and _share_of_common(text, encoding, common) > _LIKELY:
            return encoding
    return None if _decode_start(content, _WESTERN) is None else _WESTERN


def _decode_start(content: bytes, encoding: str) -> str | None:
    try:
        return codecs.getincrementaldecoder(encoding)().decode(content)
    except UnicodeDecodeError:
        return None


def _share_of_common(text: str, encoding: str, common: range) -> float:
    """Return the share of *common* characters, in a row, in the characters of *text* that are not ASCII."""
    if _MIXED_WORD.search(text):
        return 0.0
    count = sum(not character.isascii() for character in text)
    in_a_row = (character for word in _FOREIGN_WORD.findall(text) for character in word)
    return sum(character.encode(encoding)[0] in common for character in in_a_row) / count if count else 0.0


def _share_of_nul(content: bytes) -> float:
    return content.count(0) / len(content)


def _marked(head: bytes) -> str | None:
    return next((encoding for mark, encoding in _MARKS if head.startswith(mark)), None)


def _choose(head: bytes, encoding: str | None, name: str) -> str | None:
    """Return the encoding to decode from, or None for UTF-8."""
    if encoding is None:
        return detect_utf(head)
    encoding, marked = codecs.lookup(encoding).name.removesuffix("-sig"), _marked(head)
    if marked is not None and not encoding.startswith(marked):
        raise SourceError(name, f"has the byte order mark of {marked.upper()}; set encoding to {marked} or to nothing")
    if encoding == _UTF_8:
        return None
    if encoding in {"utf-16", "utf-32"} and marked is None and head:
        detected = detect_utf(head)
        if detected is None or not detected.startswith(encoding):
            raise SourceError(name, f"has no byte order mark; set encoding to {encoding}-le or {encoding}-be")
        return detected
    return encoding


def _has_bare_returns(head: str) -> bool:
    """Return True if lines end in a carriage return only. A line feed inside a quoted cell does not count."""
    outside = _QUOTED.sub("", head)
    return "\r" in outside[:-1] and "\n" not in outside  # The line feed may follow the last one.


def _decoded(stream: io.BufferedReader, encoding: str, name: str, *, has_bare_returns: bool) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(encoding)()
    line = 1
    chunk: bytes | None = None
    while chunk != b"":
        state = decoder.getstate()
        chunk = stream.read1(HEAD // 2)
        try:
            text, is_valid = decoder.decode(chunk, final=not chunk), True
        except UnicodeError:
            decoder.setstate(state)
            text, is_valid = _valid_start(decoder, chunk), False
        if is_valid and codecs.lookup(encoding).name.startswith("iso8859") and (control := _CONTROL.search(text)):
            text, is_valid = text[: control.start()], False
        text = text.replace("\r", "\n") if has_bare_returns else text
        line += text.count("\n")
        if text:
            yield text.encode("utf-8", "surrogatepass")
        if not is_valid:
            likely = likely_encoding(chunk) or _likely_utf_8(chunk)
            hint = "set encoding to that of the file" if likely in {None, encoding} else f"perhaps it is {likely}"
            raise SourceError(name, f"line {line} is not valid {encoding}; {hint}")


def _likely_utf_8(chunk: bytes) -> str | None:
    """Return UTF-8 if *chunk*, which is not valid in another encoding, is valid in it."""
    return None if chunk.isascii() or _decode_start(chunk, _UTF_8) is None else _UTF_8


def _valid_start(decoder: codecs.IncrementalDecoder, chunk: bytes) -> str:
    """Return the text before the first byte of *chunk* that is not valid."""
    text = io.StringIO()
    with contextlib.suppress(UnicodeError):
        for byte in chunk:
            text.write(decoder.decode(bytes([byte])))
    return text.getvalue()
