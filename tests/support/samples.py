"""The samples: small files as people have them, and what must come out of each."""

import bz2
import gzip
import io
import sqlite3
import tomllib
import zipfile
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeAlias
from xml.sax.saxutils import escape

import attrs
import duckdb

FOLDER: Final = Path(__file__).parents[1] / "samples"
TABLE: Final = FOLDER / "expected.toml"

Content: TypeAlias = Mapping[str, Any]


@attrs.frozen(kw_only=True)
class ExpectedUser:
    """A user who must be stored.

    Attributes:
        traits: The traits; their types in TOML are the types that Fullstory must store.
        types: Types that the values do not show, such as that of an empty list.
        rejected_by: The vendors that must reject the user.
        rule: The rule that the user breaks there.
    """

    id: str
    name: str | None = None
    email: str | None = None
    traits: Mapping[str, Any] = attrs.field(factory=dict[str, Any])
    types: Mapping[str, str] = attrs.field(factory=dict[str, str])
    rejected_by: Sequence[str] = ()
    rule: str | None = None

    @property
    def is_empty(self) -> bool:
        """Return True if nothing is known but the id; LogRocket, which has no such users, gets no request."""
        return self.name is None and self.email is None and not self.traits


@attrs.frozen(kw_only=True)
class ExpectedBadRow:
    """A row that must be a bad row.

    Attributes:
        line: Where it begins.
        problem: A fragment of the problem.
        file: The name of its file, if there are several files.
        has_user: False if only the id is missing, which `infer` does not need.
    """

    line: int
    problem: str = ""
    file: str | None = None
    has_user: bool = True


@attrs.frozen(kw_only=True)
class Refusal:
    """An error about the whole file.

    Attributes:
        exit: The exit code.
        says: Fragments of the error.
        infer: Whether `infer`, which needs no ids, must fail too.
    """

    exit: int
    says: Sequence[str]
    infer: bool = True


@attrs.frozen(kw_only=True)
class Sample:
    """Some files, how a person would load them, and what must come out.

    Attributes:
        about: What the files are.
        files: The files in the folder of the samples.
        make: Files that are made for the test, by name.
        arguments: The sources; by default all files.
        options: Options that all commands have.
        mapping: The text of a mapping.
        adapt: Whether the vendors get `--adapt`.
        settings: The text of the settings file.
        rows: Number of rows in the files: whatever is neither a header nor blank.
        users: Who must be stored.
        bad: The rows that must be bad rows.
        merged: Number of rows about a user of an earlier row.
        left_out: Number of rows that `where` leaves out.
        exit: The exit code of `check` and `sync`; by default it follows from the rows.
        infer: The casts that `infer` must find, by path.
        says: Fragments of what `check` and `sync` must say.
        refused: The error, if the whole file must be refused.
        stopped: Fragments of why reading must stop after these rows, with exit code 2.
    """

    name: str
    about: str
    files: Sequence[str] = ()
    make: Mapping[str, Content] = attrs.field(factory=dict[str, Content])
    arguments: Sequence[str] = ()
    options: Sequence[str] = ()
    mapping: str | None = None
    adapt: bool = False
    settings: str | None = None
    rows: int = 0
    users: Sequence[ExpectedUser] = ()
    bad: Sequence[ExpectedBadRow] = ()
    merged: int = 0
    left_out: int = 0
    exit: int | None = None
    infer: Mapping[str, str] = attrs.field(factory=dict[str, str])
    says: Sequence[str] = ()
    refused: Refusal | None = None
    stopped: Sequence[str] = ()

    @property
    def exit_code(self) -> int:
        """Return the exit code of `check` and `sync`."""
        if self.exit is not None:
            return self.exit
        if self.stopped:
            return 2
        return int(bool(self.bad) or any(user.rejected_by for user in self.users))

    @property
    def sources(self) -> Sequence[str]:
        """Return the arguments that are not options."""
        return self.arguments or (*self.files, *self.make)

    def write(self, folder: Path) -> tuple[str, ...]:
        """Write the files to *folder*, and return the arguments of a command that reads them."""
        for name in self.files:
            (folder / name).write_bytes((FOLDER / name).read_bytes())
        for name, content in self.make.items():
            make_file(folder / name, content)
        if self.settings is not None:
            (folder / "replay-identity.toml").write_text(self.settings, encoding="utf-8")
        arguments = (*self.sources, *self.options)
        if self.mapping is None:
            return arguments
        (folder / "mapping.toml").write_text(self.mapping, encoding="utf-8")
        return (*arguments, "--mapping", "mapping.toml")


@cache
def load_samples() -> Mapping[str, Sample]:
    """Return all samples by name."""
    table = tomllib.loads(TABLE.read_text(encoding="utf-8"))
    return {name: _sample(name, entry) for name, entry in table.items()}


def _sample(name: str, entry: dict[str, Any]) -> Sample:
    users = [ExpectedUser(**user) for user in entry.pop("users", ())]
    bad = [ExpectedBadRow(**row) for row in entry.pop("bad", ())]
    refused = entry.pop("refused", None)
    return Sample(name=name, users=users, bad=bad, refused=None if refused is None else Refusal(**refused), **entry)


def make_file(path: Path, content: Content) -> None:
    """Write a file that is better described than kept: binary, compressed, or with invisible characters.

    *content* has one of `text`, `from` (a file of the samples), `sheet` (the rows of an Excel sheet), `parquet` (a
    query) and `sqlite` (a script); and optionally an `encoding`, a byte order `mark`, a `pack`, and `cut` (bytes off
    the end).
    """
    if "sheet" in content:
        _write_sheet(path, content["sheet"])
    elif "parquet" in content:
        duckdb.execute(f"COPY ({content['parquet']}) TO '{path}' (FORMAT parquet)")
    elif "sqlite" in content:
        with sqlite3.connect(path) as database:
            database.executescript(content["sqlite"])
        database.close()
    else:
        path.write_bytes(_packed(_text_bytes(content), content))


def _text_bytes(content: Content) -> bytes:
    if "from" in content:
        data = (FOLDER / str(content["from"])).read_bytes()
        text = data.decode()
    else:
        text = str(content["text"])
    mark = "\ufeff" if content.get("mark") else ""
    return (mark + text).encode(str(content.get("encoding", "utf-8")))


def _packed(data: bytes, content: Content) -> bytes:
    name = str(content.get("pack", "none"))
    packed = PACKERS[name](data, content)
    return packed[: len(packed) - int(content.get("cut", 0))]


def _zip(data: bytes, content: Content) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for member in content.get("members", ["people.csv"]):
            archive.writestr(member, data)
    return stream.getvalue()


def _zstd(data: bytes, _content: Content) -> bytes:
    """Return a frame with one raw block, which every decompressor reads (RFC 8878)."""
    block = (len(data) << 3 | 1).to_bytes(3, "little")
    return b"\x28\xb5\x2f\xfd" + b"\xa0" + len(data).to_bytes(4, "little") + block + data


PACKERS: Final[Mapping[str, Callable[[bytes, Content], bytes]]] = {
    "none": lambda data, _content: data,
    # Not compressed, so that the place of a cut is known.
    "gzip": lambda data, _content: gzip.compress(data, compresslevel=0, mtime=0),
    "bz2": lambda data, _content: bz2.compress(data),
    "zstd": _zstd,
    "zip": _zip,
}


# The parts of an Excel file besides the sheet and its texts. The second format of cells, number 14, is a date.
_MAIN: Final = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
_OFFICE: Final = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE: Final = "http://schemas.openxmlformats.org/package/2006"
_TYPE: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml"
_PARTS: Final[Mapping[str, str]] = {
    "[Content_Types].xml": f'<Types xmlns="{_PACKAGE}/content-types">'
    '<Default Extension="xml" ContentType="application/xml"/>'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    f'<Override PartName="/xl/workbook.xml" ContentType="{_TYPE}.sheet.main+xml"/>'
    f'<Override PartName="/xl/worksheets/sheet1.xml" ContentType="{_TYPE}.worksheet+xml"/>'
    f'<Override PartName="/xl/styles.xml" ContentType="{_TYPE}.styles+xml"/>'
    f'<Override PartName="/xl/sharedStrings.xml" ContentType="{_TYPE}.sharedStrings+xml"/></Types>',
    "_rels/.rels": f'<Relationships xmlns="{_PACKAGE}/relationships">'
    f'<Relationship Id="rId1" Type="{_OFFICE}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
    "xl/workbook.xml": f'<workbook {_MAIN} xmlns:r="{_OFFICE}">'
    '<sheets><sheet name="People" sheetId="1" r:id="rId1"/></sheets></workbook>',
    "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{_PACKAGE}/relationships">'
    f'<Relationship Id="rId1" Type="{_OFFICE}/worksheet" Target="worksheets/sheet1.xml"/>'
    f'<Relationship Id="rId2" Type="{_OFFICE}/styles" Target="styles.xml"/>'
    f'<Relationship Id="rId3" Type="{_OFFICE}/sharedStrings" Target="sharedStrings.xml"/></Relationships>',
    "xl/styles.xml": f"<styleSheet {_MAIN}><fonts count='1'><font/></fonts>"
    "<fills count='2'><fill><patternFill patternType='none'/></fill>"
    "<fill><patternFill patternType='gray125'/></fill></fills><borders count='1'><border/></borders>"
    "<cellStyleXfs count='1'><xf/></cellStyleXfs>"
    "<cellXfs count='2'><xf numFmtId='0'/><xf numFmtId='14' applyNumberFormat='1'/></cellXfs>"
    "<cellStyles count='1'><cellStyle name='Normal' xfId='0'/></cellStyles></styleSheet>",
}
# XML would read it as a line feed.
_RETURN: Final = {"\r": "&#13;"}
_FIRST_DAY: Final = date(1899, 12, 30)


def _write_sheet(path: Path, rows: Sequence[Sequence[Any]]) -> None:
    """Write an Excel file of one sheet; an empty text is an empty cell. Like Excel, it keeps the texts apart."""
    texts = sorted({cell for row in rows for cell in row if isinstance(cell, str) and cell})
    sheet = "".join(_row(row, number, texts) for number, row in enumerate(rows, 1))
    items = "".join(f'<si><t xml:space="preserve">{escape(text, _RETURN)}</t></si>' for text in texts)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, part in _PARTS.items():
            archive.writestr(name, part)
        archive.writestr("xl/sharedStrings.xml", f"<sst {_MAIN}>{items}</sst>")
        archive.writestr("xl/worksheets/sheet1.xml", f"<worksheet {_MAIN}><sheetData>{sheet}</sheetData></worksheet>")


def _row(row: Sequence[Any], number: int, texts: Sequence[str]) -> str:
    cells = (_cell(cell, f"{chr(ord('A') + column)}{number}", texts) for column, cell in enumerate(row))
    return f'<row r="{number}">{"".join(cells)}</row>'


def _cell(value: str | bool | float | date, reference: str, texts: Sequence[str]) -> str:  # noqa: FBT001
    if value == "":
        return f'<c r="{reference}" s="0"/>'
    if isinstance(value, str):
        return f'<c r="{reference}" t="s"><v>{texts.index(value)}</v></c>'
    if isinstance(value, bool):
        return f'<c r="{reference}" t="b"><v>{int(value)}</v></c>'
    if isinstance(value, date):
        return f'<c r="{reference}" s="1"><v>{(value - _FIRST_DAY).days}</v></c>'
    return f'<c r="{reference}"><v>{value}</v></c>'
