"""The elements of JSON documents."""

import io
import json
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay_identity.errors import SourceError
from replay_identity.sources import BadRow, json_text, read_users
from replay_identity.sources.json_reader import read_elements

CANARY = "canary-7Q"

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10)
OBJECTS = st.dictionaries(st.text(), VALUES, max_size=4)
INDENTS = st.sampled_from([None, 0, 1, 4, "\t"])


class SlowStream(io.BytesIO):
    """A stream that returns at most *size* bytes at a time, as a pipe may."""

    def __init__(self, content: bytes, size: int) -> None:
        super().__init__(content)
        self.size = size

    def read(self, size: int | None = -1, /) -> bytes:
        """Return a few bytes."""
        return super().read(self.size if size is None or size < 0 else min(size, self.size))


def read(content: bytes | str, path: str | None = None, size: int = 2**20) -> list[tuple[int, int, bytes | None]]:
    """Return the elements of *content*."""
    raw = content if isinstance(content, bytes) else content.encode()
    return list(read_elements(SlowStream(raw, size), "users.json", path=path))


def texts(content: bytes | str, path: str | None = None) -> list[bytes | None]:
    """Return the bytes of the elements of *content*."""
    return [element for _, _, element in read(content, path)]


def read_until_error(content: bytes | str, path: str | None = None, size: int = 2**20) -> tuple[list[Any], str]:
    """Return the elements before the error, and the error."""
    raw = content if isinstance(content, bytes) else content.encode()
    found: list[Any] = []
    with pytest.raises(SourceError) as caught:
        found.extend(_remember(read_elements(SlowStream(raw, size), "users.json", path=path), found))
    assert caught.value.source == "users.json"
    return found, caught.value.problem


def _remember(elements: Iterator[Any], found: list[Any]) -> Iterator[Any]:
    for _, _, element in elements:
        found.append(element)
    yield from ()


def check_lines(content: bytes, found: list[tuple[int, int, bytes | None]]) -> None:
    """Check that each element begins and ends on its lines, and the elements are in order."""
    lines = content.split(b"\n")
    for first, last, element in found:
        assert element is not None
        assert element in b"\n".join(lines[first - 1 : last])
        assert last - first == element.count(b"\n")
    assert [first for first, _, _ in found] == sorted(first for first, _, _ in found)


def problem(content: bytes | str, path: str | None = None) -> str:
    """Return the error of *content*."""
    return read_until_error(content, path)[1]


@given(
    users=st.lists(OBJECTS),
    indent=INDENTS,
    size=st.integers(1, 200),
    is_ascii=st.booleans(),
    line_end=st.sampled_from(["\n", "\r\n"]),
)
def test_elements_of_an_array_are_its_objects(
    users: list[dict[str, Any]],
    indent: Any,
    size: int,
    is_ascii: bool,  # noqa: FBT001
    line_end: str,
) -> None:
    """Whatever the indentation, and however the stream is cut into chunks."""
    content = (
        json.dumps(users, indent=indent, ensure_ascii=is_ascii).replace("\n", line_end).encode("utf-8", "surrogatepass")
    )

    found = read(content, size=size)

    assert [json.loads(element or b"") for _, _, element in found] == users
    check_lines(content, found)


@given(
    users=st.lists(OBJECTS, min_size=2), indents=st.lists(INDENTS, min_size=1), size=st.integers(1, 200), data=st.data()
)
def test_elements_of_documents_are_their_objects(
    users: list[dict[str, Any]], indents: list[Any], size: int, data: st.DataObject
) -> None:
    """Objects one after the other, each with another indentation, with or without white space between them."""
    documents = [json.dumps(user, indent=indents[index % len(indents)]) for index, user in enumerate(users)]
    separator = data.draw(st.sampled_from(["\n", "", " ", "\r\n\r\n", "\ufeff", "\n\ufeff"]))
    content = separator.join(documents).encode()

    found = read(content, size=size)

    assert [json.loads(element or b"") for _, _, element in found] == users
    check_lines(content, found)


NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="."), min_size=1)


@given(
    users=st.lists(OBJECTS),
    path=st.lists(NAMES, min_size=1, max_size=3),
    others=st.dictionaries(NAMES, VALUES),
    indent=INDENTS,
    size=st.integers(1, 200),
)
def test_elements_at_a_path_are_its_objects(
    users: list[Any], path: list[str], others: dict[str, Any], indent: Any, size: int
) -> None:
    """Whatever other members the objects on the way have, and whichever characters the names have."""
    value: Any = users
    for name in reversed(path):
        value = {**others, name: value} if name in others else {name: value, **others}

    found = read(json.dumps(value, indent=indent), ".".join(path), size)

    assert [json.loads(element or b"") for _, _, element in found] == users


@given(users=st.lists(OBJECTS, min_size=1), indent=INDENTS, data=st.data())
def test_a_document_cut_off_gives_the_elements_before(users: list[Any], indent: Any, data: st.DataObject) -> None:
    """And then the error, wherever it is cut."""
    content = json.dumps(users, indent=indent).encode()
    cut = data.draw(st.integers(1, len(content) - 1))

    found, error = read_until_error(content[:cut])

    assert [json.loads(element) for element in found] == users[: len(found)]
    assert "is cut off" in error


DAMAGE = st.sampled_from([b"", b'"', b"{", b"}", b"[", b"]", b",", b":", b"\n", b"\\", b"x", b"\xff", b"1", b" "])


@given(
    users=st.lists(OBJECTS, min_size=1),
    form=st.sampled_from(["array", "lines", "documents"]),
    indent=INDENTS,
    damage=DAMAGE,
    size=st.integers(1, 50),
    data=st.data(),
)
def test_chunks_change_nothing_in_a_damaged_document(
    users: list[Any], form: str, indent: Any, damage: bytes, size: int, data: st.DataObject
) -> None:
    """The same elements and the same error, however the stream is cut into chunks."""
    lines = "\n".join(json.dumps(user, indent=indent if form == "documents" else None) for user in users)
    content = (json.dumps(users, indent=indent) if form == "array" else lines).encode()
    place = data.draw(st.integers(0, len(content)))
    damaged = content[:place] + damage + content[place + data.draw(st.integers(0, 1)) :]

    assert outcome(damaged, size) == outcome(damaged, 2**20)


def outcome(content: bytes, size: int) -> tuple[list[Any], str | None]:
    """Return the elements of *content* and the error after them."""
    found: list[Any] = []
    try:
        found.extend(read_elements(SlowStream(content, size), "users.json"))
    except SourceError as error:
        return found, error.problem
    return found, None


@pytest.mark.parametrize("content", ["[]", " [ ]\n", "[][]", "[]\ufeff\n[]"])
def test_an_empty_document_has_no_elements(content: str) -> None:
    """White space and byte order marks are not elements either."""
    assert read(content, size=1) == []


@pytest.mark.parametrize("content", ["", " \r\n", "\ufeff"])
@pytest.mark.parametrize("path", [None, "users"])
def test_an_empty_file_is_no_document(content: str, path: str | None) -> None:
    """A program may have failed before it wrote one."""
    assert read_until_error(content, path) == ([], "is empty; expected an array or an object")


def test_counts_lines_and_keeps_bytes_as_they_are() -> None:
    """The parser of rows judges digits, names and encoding."""
    content = b'[\r\n {"a": 1.00,\r\n  "a": "\xff"} , {"b":\n12345678901234567890 }\n,NaN\n]\n'

    assert read(content) == [
        (2, 3, b'{"a": 1.00,\r\n  "a": "\xff"}'),
        (3, 4, b'{"b":\n12345678901234567890 }'),
        (5, 5, b"NaN"),
    ]


def test_reads_all_arrays_and_objects_of_a_file() -> None:
    """Files put together have a byte order mark in the middle."""
    content = '\ufeff[{"a":1}]\n[{"a":2},{"a":3}]\ufeff{"a":4}[]{"a":5}'

    assert texts(content) == [b'{"a":1}', b'{"a":2}', b'{"a":3}', b'{"a":4}', b'{"a":5}']


@pytest.mark.parametrize("element", ["null", "true", "-1.5e3", '"text"', "[1]", '[[{"a": 1}]]', "NaN", "-Infinity"])
def test_elements_need_not_be_objects(element: str) -> None:
    """The conversion of rows reports them."""
    assert texts(f'[{element}, {{"a":1}}]') == [element.encode(), b'{"a":1}']
    if not element.startswith("["):
        assert texts(f'{element}\n{{"a":1}}') == [element.encode(), b'{"a":1}']


@pytest.mark.parametrize(
    "element",
    [
        '{"a": 1 "b": 2}',
        '{"a": canary-7Q}',
        "{'a': 1}",
        '{"a": "\\x"}',
        '{"a": "two\nlines"}',
        '{"a": 1,}',
        '{"a": "he said "hi" twice"}',
        '{"a": [1, 2], "b": "[{", "c": "\\"}"}',
        '{"a": 1, "a": 2}',
        '{"a": "\\"}", "b": "\\""}',
        '{"a": "\\ud800"}',
        "garbage",
        '{"a": {"b": {"c": {"d": {"e": [[[[1]]]]}}}}}',
    ],
)
def test_a_fault_inside_an_element_leaves_the_others(element: str) -> None:
    """Its brackets and quotes say where it ends."""
    assert texts(f'[{{"z":1}}, {element},\n{{"z":2}}]') == [b'{"z":1}', element.encode(), b'{"z":2}']


@pytest.mark.parametrize(
    ("content", "count", "expected"),
    [
        ('[{"a": "canary-7Q"} {"b": 1}]', 1, "is not valid JSON at line 1, column 21"),
        ('[{"a": 1},\n]', 1, "is not valid JSON at line 2, column 1"),
        ('[{"a": 1}] canary-7Q', 1, "is not valid JSON at line 1, column 12"),
        ('[{"a": 1}]\n]', 1, "is not valid JSON at line 2, column 1"),
        ("[,]", 0, "is not valid JSON at line 1, column 2"),
        ("[", 0, "is cut off: the file ends at line 1, column 2"),
        ('[{"é": 1}', 1, "is cut off: the file ends at line 1, column 10"),
        ('[{"a": 1},\n', 1, "is cut off: the file ends at line 2, column 1"),
        ('[{"a": 1},\n {"canary-7Q', 1, "is cut off inside the value that begins at line 2, column 2"),
        ('[{"a": "\\u12', 0, "is cut off inside the value that begins at line 1, column 2"),
        ('["canary-7Q', 0, "is cut off inside the value that begins at line 1, column 2"),
        ('[{"a": [1}, {"b": 2}]', 0, "is not valid JSON at line 1, column 10"),
        ('[{"a": 1,\n {"b": 2}]', 0, "is not valid JSON at line 2, column 2"),
        ('{"a": 1}, {"b": 2}', 1, "is not valid JSON at line 1, column 9"),
        ('{"a": 1}\n{"a": 2}}\n{"a": 3}', 2, "is not valid JSON at line 2, column 9"),
        ('{"a": 1}}', 1, "is not valid JSON at line 1, column 9"),
        ("canary-7Q", 0, "is not valid JSON at line 1, column 1"),
        (b"\xef\xbbcanary-7Q", 0, "is not valid JSON at line 1, column 1"),
        (b"\xef", 0, "is not valid JSON at line 1, column 1"),
        ("7Q", 0, "is not valid JSON at line 1, column 1"),
        ("[" * 100_000, 0, "is cut off inside the value that begins at line 1, column 2"),
        ("[" * 100_000 + "}", 0, "is not valid JSON at line 1, column 2"),
        ('{"a": 1}\n{"b": {"c": 1', 1, "is cut off inside the value that begins at line 2, column 1"),
        # Not a comma before a brace: where that is reported depends on the version of Python.
        ('{"a": 1}\n{"b": 1}\n {\n"c": {"d": 1\n"e"}\n]', 2, "is not valid JSON at line 5, column 1"),
    ],
)
def test_the_rest_is_not_read_where_elements_cannot_be_told(content: str | bytes, count: int, expected: str) -> None:
    """The error says where, and quotes nothing."""
    found, error = read_until_error(content)

    assert len(found) == count
    assert error == f"{expected}; the rest was not read"
    assert CANARY not in error


@pytest.mark.parametrize(
    "broken",
    [
        '{"a": "canary',
        '{"a": {"b": 1}',
        '{"a": [1}',
        '{"a": 1]',
        "canary-7Q",
        '  {"a": 1, "b',
        ",",
    ],
)
@pytest.mark.parametrize("size", [1, 1000])
def test_a_broken_line_of_json_lines_is_one_element(broken: str, size: int) -> None:
    """Each object so far was alone on its line."""
    content = f'{{"z":1}}\n{{"z":2}}\n{broken}\n{{"z":3}}\n{{"z":4}}'.encode()

    found = read(content, size=size)

    assert [line for line, _, _ in found if line != 3] == [1, 2, 4, 5]
    assert texts(content)[-2:] == [b'{"z":3}', b'{"z":4}']


def test_a_broken_last_line_of_json_lines_is_one_element() -> None:
    """The file need not end with a line break."""
    assert texts('{"z":1}\n{"z":2}\ncanary-7Q') == [b'{"z":1}', b'{"z":2}', b"canary-7Q"]


@pytest.mark.parametrize("number", ["-1.5e-7", "12"])
def test_a_number_cut_off_is_not_a_fault(number: str) -> None:
    """Nor is a literal or an escape."""
    content = f'[{{"a": [{number}, true, null, NaN, -Infinity, "\\ud83d\\ude00"]}}]'

    assert all("is cut off" in problem(content[:cut]) for cut in range(1, len(content)))


def test_a_broken_first_line_names_the_format() -> None:
    """Nothing says yet that the file is JSON Lines."""
    error = problem('{"a": {"b": 1}\n{"a": 2}\n')

    assert error.endswith("at line 2, column 1; the rest was not read; if each line is an object, set format to jsonl")


def test_objects_in_a_broken_document_are_not_users() -> None:
    """An object that is alone on its line may still be inside of another one."""
    found, _ = read_until_error('{"id": 1}\n{\n"id": 2,\n"company":\n{"id": 3}\n"x" 5]')

    assert found == [b'{"id": 1}']


@pytest.mark.parametrize("size", [1, 1000])
def test_a_string_may_begin_where_a_line_of_json_lines_breaks(size: int) -> None:
    """It is not only cut off, because no string is expected there."""
    found, error = read_until_error('{"a":1}\n{"a":2}\n{"b": {"c"\n"a long string"}}\n{"a":3}', size=size)

    assert found == [b'{"a":1}', b'{"a":2}', b'{"b": {"c"', b'"a long string"']
    assert error == "is not valid JSON at line 4, column 16; the rest was not read"


@pytest.mark.parametrize("size", [1, 1000])
def test_a_line_break_in_a_string_ends_the_line_of_json_lines(size: int) -> None:
    """Even if the quotes and brackets on both lines make an object."""
    found = read(b'{"a":1}\n{"a":"\n"}\n{"a":2}', size=size)

    assert [(line, element) for line, _, element in found] == [
        (1, b'{"a":1}'),
        (2, b'{"a":"'),
        (3, b'"}'),
        (4, b'{"a":2}'),
    ]


def test_objects_on_one_line_are_not_json_lines() -> None:
    """A line is then not known to be one object."""
    found, error = read_until_error('{"a":1} {"a":2}\n{"a":3}\n{"a": {"b": 1}\n{"a":4}')

    assert found == [b'{"a":1}', b'{"a":2}', b'{"a":3}']
    assert error == "is not valid JSON at line 4, column 1; the rest was not read"


def test_an_object_over_several_lines_may_follow_single_lines() -> None:
    """Objects of a file need not be written in the same way."""
    assert texts('{"a":1}\n{"a":\n2}\n{"a":3}') == [b'{"a":1}', b'{"a":\n2}', b'{"a":3}']


@pytest.mark.parametrize(
    ("content", "path", "expected"),
    [
        ('{"users": [{"a": 1}]}', None, "is one object; its users may be in users: set path (--path users)"),
        (
            '{"data": {"users": [{}], "n": 1}, "meta": {"page": 1}}',
            None,
            "is one object; its users may be in data.users: set path (--path data.users)",
        ),
        ('{"a": {"users": [{}]}}', "a", "a is one object; its users may be in a.users: set path (--path a.users)"),
        (
            '{"canary-7Q": {"plan": 1}, "u2": {"plan": 2}}',
            None,
            "is an object of objects, perhaps one for each user id",
        ),
        (
            '{"canary-7Q": {"x": [{}]}, "u2": {"x": [{}]}}',
            None,
            "is an object of objects, perhaps one for each user id",
        ),
        ('{"canary-7Q": {"plan": 1}}', None, "is an object of objects, perhaps one for each user id"),
        ('{"users": {"canary-7Q": {}}}', "users", "users is an object of objects, perhaps one for each user id"),
        ('{"users": null}', "users", "users is not an array of objects"),
        ('{"users": []}', "user", "path leads nowhere: the document has no user; did you mean users?"),
        (
            '{"Data": {"users": []}}',
            "data.users",
            "path leads nowhere: the document has no data.users; did you mean Data?",
        ),
        ('{"data": {"all": [], "n": 1}}', "data.users", "path leads nowhere: data has no users; found all, n"),
        ('{"a@b.c": 1, "7": 2, "n": 3}', "users", "path leads nowhere: the document has no users; found …, …, n"),
        (
            json.dumps(dict.fromkeys("abcdefghijklmn", 1)),
            "users",
            "path leads nowhere: the document has no users; found a, b, c, d, e, f, g, h, i, j, …",
        ),
        (
            json.dumps(dict.fromkeys(map("a{}".format, range(2000)), 1)),
            "users",
            "path leads nowhere: the document has no",
        ),
        (
            '{"canary-7Q": {}, "u2": {}}',
            "users",
            "path leads nowhere: the document has no users; it has only objects",
        ),
        ("{}", "users", "path leads nowhere: the document is not an object that has users"),
        (
            "[]",
            "users",
            (
                "path leads nowhere: the document is an array and has no users;"
                " write the index of an element, such as 0.users, or leave path out"
            ),
        ),
        ("[1", "2", "is cut off: the file ends at line 1, column 3"),
        ("[1,]", "2", "is not valid JSON at line 1, column 4"),
        ("[1 2]", "2", "is not valid JSON at line 1, column 4"),
        ("null", "users", "path leads nowhere: the document is not an object that has users"),
        (
            '{"users": [{}]}',
            "users.all",
            "path leads nowhere: users is an array and has no all; write the index of an element, such as users.0.all",
        ),
        (
            '{"pages": [{"users": []}]}',
            "pages.1.users",
            (
                "path leads nowhere: pages is an array and has no 1.users;"
                " write the index of an element, such as pages.0.users"
            ),
        ),
    ],
)
def test_says_where_users_may_be(content: str, path: str | None, expected: str) -> None:
    """Nothing is guessed, and names that may be ids are not shown."""
    found, error = read_until_error(content, path)

    assert found == []
    assert error.startswith(expected)
    assert CANARY not in error


@pytest.mark.parametrize(
    ("content", "path", "expected"),
    [
        ('{"a": 1}', "", ['{"a": 1}']),
        ('{"users": [{"a": 1}]}', "", ['{"users": [{"a": 1}]}']),
        ('{"users": [{"a": 1}]}\n{"b": 1}', None, ['{"users": [{"a": 1}]}', '{"b": 1}']),
        ('{"id": "u1", "company": {"id": "c1"}, "tags": ["a"]}', None, None),
        ("{}", None, ["{}"]),
        ('{"user": {"id": "u1"}, "n": 1}', "user", ['{"id": "u1"}']),
        ('{"a.b": [{"a": 1}]}', "a.b", ['{"a": 1}']),
        ('{"a": {"b.c": [{"a": 1}], "b": {}}}', "a.b.c", ['{"a": 1}']),
        ('{"a": {"x": 1}, "a.b": [{"a": 1}]}', "a.b", ['{"a": 1}']),
        ('{"\\u0061": [{"a": 1}]}', "a", ['{"a": 1}']),
        ('{"a": [{"a": 1}]}{"a": []}{"a": [{"a": 2}]}', "a", ['{"a": 1}', '{"a": 2}']),
        ('{"a": []}', "a", []),
        ('{"a": [{"b": [{"a": 1}]}, {"b": [{"a": 2}]}]}', "a.0.b", ['{"a": 1}']),
        ('{"a": [{"b": [{"a": 1}]}, {"b": [{"a": 2}]}]}', "a.1.b", ['{"a": 2}']),
        ('[7, [{"a": 1}]]', "1", ['{"a": 1}']),
        ('[[[{"a": 1}]], []]', "0.0", ['{"a": 1}']),
        ('{"a": [{"c": 1}, {"d": 2}]}', "a.1", ['{"d": 2}']),
    ],
)
def test_reads_what_is_plainly_users(content: str, path: str | None, expected: list[str] | None) -> None:
    """One object, arrays at a path, and names with dots or escapes."""
    assert texts(content, path) == [text.encode() for text in (expected if expected is not None else [content])]


@pytest.mark.parametrize(
    ("content", "path", "expected"),
    [
        ('{"a": [{"x": 1}], "a": [{"x": 2}]}', "a", "has a twice; the rest was not read"),
        ('{"a": {"b": [{"x": 1}]}, "a.b": [{"x": 2}]}', "a.b", "has a.b twice; the rest was not read"),
        ('{"a": [{"x": 1}],}', "a", "is not valid JSON at line 1, column 18; the rest was not read"),
        ('{"a": [{"x": 1}] "b": 1}', "a", "is not valid JSON at line 1, column 18; the rest was not read"),
        ('{"a": [{"x": 1}], "b" 1}', "a", "is not valid JSON at line 1, column 23; the rest was not read"),
        (
            '{"a": [{"x": 1}], "b',
            "a",
            "is cut off inside the value that begins at line 1, column 19; the rest was not read",
        ),
        ('{"a": [{"x": 1}], "b": {"c": [1}}', "a", "is not valid JSON at line 1, column 32; the rest was not read"),
        ('{"a": [{"x": 1}]', "a", "is cut off: the file ends at line 1, column 17; the rest was not read"),
        ('{"a": [{"x": 1}]} canary', "a", "is not valid JSON at line 1, column 19; the rest was not read"),
    ],
)
def test_faults_after_the_users_at_a_path_are_errors(content: str, path: str, expected: str) -> None:
    """The users before are read, and the file is not taken for complete."""
    found, error = read_until_error(content, path)

    assert (found, error) == ([b'{"x": 1}'], expected)


@pytest.mark.parametrize(
    "content", ['{"a":', '{"b":', '{"a": {"b": 1}, "b":', '{"b": {"c": 1}, "a', '{"b": {"c": [1, "x']
)
def test_a_document_cut_off_before_the_users_is_an_error(content: str) -> None:
    """It is not taken for one without users."""
    assert "is cut off" in problem(content, "a")


def test_names_that_are_not_utf8_are_not_the_path() -> None:
    """Their values are passed over."""
    assert texts(b'{"\xff": [{"a": 1}], "users": [{"a": 2}]}', "users") == [b'{"a": 2}']


@pytest.mark.parametrize("size", [7, 1000])
def test_an_element_that_is_too_long_has_no_bytes(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """The elements after it are read."""
    monkeypatch.setattr(json_text, "MAX_LINE", 20)
    monkeypatch.setattr(json_text, "_CHUNK", 10)
    long = '{"a":\n[' + ",".join(["[[[[1]]]]"] * 10) + "]}"

    assert read(f'[{{"z":1}},{{"a":"{"x" * 15}"}},{long},{{"z":2}},\n{long}]', size=size) == [
        (1, 1, b'{"z":1}'),
        (1, 1, None),
        (1, 2, None),
        (2, 2, b'{"z":2}'),
        (3, 4, None),
    ]


def test_a_simple_object_that_is_too_long_has_no_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Simple objects are found in another way."""
    monkeypatch.setattr(json_text, "MAX_LINE", 20)

    assert texts(f'[{{"a":"{"x" * 15}"}},{{"z":1}},{{"z":2}}]') == [None, b'{"z":1}', b'{"z":2}']


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('["' + "x" * 100 + '"]', "has a string that is longer than 32 MiB"),
        ("[" + "1" * 100 + "]", "has a string that is longer than 32 MiB"),
        ('[{"a": [[[["' + "x" * 100 + '"]]]]}]', "has a string that is longer than 32 MiB"),
        ('[{"a": 1, {"b": [[["' + "x" * 100 + '"]]]}]', "is not valid JSON at line 1, column 11"),
        ('{"z":1}\n{"z":2}\n{"a": x' + "x" * 100 + '"]', "is not valid JSON at line 3, column 1"),
        ('{"users": [{"a": 1}, ' + '{"a": [[[[1]]]]},' * 20 + "]}", "is one object; its users may be in users"),
        ('{"n": 1, "x": [' + "[[[1]]]," * 20 + "1]}", None),
    ],
)
def test_what_is_too_long_to_be_kept(monkeypatch: pytest.MonkeyPatch, content: str, expected: str | None) -> None:
    """A long string ends the reading; a long object at the top may still say where its users are."""
    monkeypatch.setattr(json_text, "MAX_LINE", 40)
    monkeypatch.setattr(json_text, "_CHUNK", 10)

    if expected is None:
        assert texts(content) == [None]
    else:
        assert problem(content).startswith(expected)


class BrokenStream(io.BytesIO):
    """A stream that fails, or is not one of bytes."""

    def __init__(self, result: Any) -> None:
        super().__init__()
        self.result = result

    def read(self, _size: int | None = -1, /) -> Any:
        """Raise or return the result."""
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (OSError(CANARY), "cannot be read: OSError"),
        (UnicodeDecodeError("utf-8", b"canary-7Q", 0, 1, CANARY), "cannot be read: UnicodeDecodeError"),
        ("[]", "expected a binary stream that waits for bytes; open the file in binary mode"),
        (None, "expected a binary stream that waits for bytes; open the file in binary mode"),
    ],
)
def test_a_stream_that_cannot_be_read_is_an_error(result: Any, expected: str) -> None:
    """The exception may quote content, so it is not shown."""
    with pytest.raises(SourceError) as caught:
        list(read_elements(BrokenStream(result), "users.json"))

    assert caught.value.problem == expected


def test_keeps_little_of_a_document_in_memory() -> None:
    """A document may be larger than the memory."""
    content = b"[" + b'{"user_id": "u1", "plan": "pro"},' * 200_000 + b"{}]"

    tracemalloc.start()
    try:
        count = sum(1 for _ in read_elements(io.BytesIO(content), "users.json"))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert count == 200_001
    assert peak < len(content) / 2


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('[{"id": null}, {"id": "u"}, {"id": null}]', ["line 1: element 1", None, "line 1: element 3"]),
        (
            '[{"id": "u"}, {"id": null},\n{"id": null}, {"id": null}]',
            [None, "line 1: element 2", "line 2: element 3", "line 2: element 4"],
        ),
        ('[\n{"id": null},\n{"id": null}\n]', ["line 2: id", "line 3: id"]),
        ('[{"id": null},\n{"id": "u"}]', ["line 1: id", None]),
        ('[{"id": null,\n"a": 1}, {"id": null}]', ["lines 1 to 2: element 1", "line 2: element 2"]),
        ('{"id": null} {"id": null}', ["line 1: element 1", "line 1: element 2"]),
        ('[{"id": null}]', ["line 1: id"]),
        ('[{"id": null} 7', ["line 1: id", "error"]),
        ('[{"id": null}, {"id": "u"} 7', ["line 1: element 1", None, "error"]),
        ('[{"id": "u"} 7', [None, "error"]),
    ],
)
def test_a_bad_row_beside_others_has_its_number(content: str, expected: list[str | None]) -> None:
    """Their lines do not tell them apart."""
    found: list[str | None] = []
    try:
        for row in read_users(io.BytesIO(content.encode()), format="json"):
            found.append(": ".join(str(row).split(": ")[:2]) if isinstance(row, BadRow) else None)  # noqa: PERF401
    except SourceError:
        found.append("error")

    assert found == expected
