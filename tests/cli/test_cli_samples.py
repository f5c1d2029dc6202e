"""The samples, through `check`, `infer`, `sync`, `migrate` and `identify` against both emulators."""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final, cast

import pytest
from support.commands import CommandResult, RunCommand
from support.samples import FOLDER, ExpectedBadRow, ExpectedUser, Sample, load_samples
from support.vendors import Vendors

from replay_identity.emulator import FullstoryUser, LogRocketUser

SAMPLES: Final = load_samples()
VENDORS: Final = ("fullstory", "logrocket")
TYPES: Final = {str: "str", int: "int", float: "real", bool: "bool", date: "date", datetime: "date"}

each_sample = pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES)
# What `migrate` can read: it has one source.
ONE_SOURCE: Final = [name for name, sample in SAMPLES.items() if len(sample.sources) == 1]


@each_sample
def test_check_finds_every_bad_row(run: RunCommand, tmp_path: Path, sample: Sample) -> None:
    """It accepts the users that should be accepted, and says what should be said."""
    arguments = sample.write(tmp_path)

    result = run("check", *arguments, *(["--adapt"] if sample.adapt else []), "--json")

    if sample.refused is not None:
        assert_refused(result, sample)
        return
    document = document_of(result)
    assert result.code == sample.exit_code, result.output
    assert_bad_rows(document, sample.bad)
    assert document["users"] == len(sample.users) + sample.merged
    assert_stopped(document, sample)
    assert_says(result, sample)
    assert_private(result, sample)


@each_sample
def test_infer_finds_the_types(run: RunCommand, tmp_path: Path, sample: Sample) -> None:
    """It reads what the others read; a row whose only fault is a missing id is none here."""
    arguments = sample.write(tmp_path)

    result = run("infer", *arguments, "--json")

    if sample.refused is not None and sample.refused.infer:
        assert_refused(result, sample)
        return
    if sample.stopped:
        assert (result.code, result.out) == (2, "")
        return
    document = document_of(result)
    assert_bad_rows(document, [row for row in sample.bad if row.has_user])
    casts = {field["path"]: field["cast"] for field in document["fields"]}
    assert {path: casts.get(path) for path in sample.infer} == dict(sample.infer)
    assert_private(result, sample)


@each_sample
def test_sync_stores_exactly_the_users(run: RunCommand, vendors: Vendors, tmp_path: Path, sample: Sample) -> None:
    """Each row is stored, bad, rejected, merged or left out; none is lost or stored as somebody else."""
    arguments = sample.write(tmp_path)

    result = run("sync", *arguments, *(["--adapt"] if sample.adapt else []), "--ledger", "users.db", "--json")

    assert_sent(result, vendors, sample)
    if sample.refused is None:
        assert_says(result, sample)


@pytest.mark.parametrize("name", ONE_SOURCE)
def test_migrate_stores_what_sync_stores(run: RunCommand, vendors: Vendors, tmp_path: Path, name: str) -> None:
    """A file is read in the same way."""
    sample = SAMPLES[name]
    arguments = sample.write(tmp_path)

    result = run("migrate", "--from", *arguments, *(["--adapt"] if sample.adapt else []), "--ledger", "l.db", "--json")

    assert_sent(result, vendors, sample)


@each_sample
def test_identify_stores_what_sync_stores(run: RunCommand, vendors: Vendors, tmp_path: Path, sample: Sample) -> None:
    """One by one: a user of several rows is sent as often."""
    arguments = sample.write(tmp_path)

    result = run("identify", *arguments, *(["--adapt"] if sample.adapt else []), "--json")

    if sample.refused is not None and not result.out:
        assert_refused(result, sample)
    elif sample.refused is not None:
        assert result.code == sample.refused.exit
    else:
        document = document_of(result)["summary"]
        assert result.code == sample.exit_code, result.output
        assert_bad_rows(document, sample.bad)
        assert_stopped(document, sample)
        assert document["users"] == len(sample.users) + sample.merged
    assert_stored(vendors, sample)
    assert_private(result, sample)


@each_sample
def test_table_counts_every_row(sample: Sample) -> None:
    """The table agrees with itself: a reader can count the rows of a file."""
    explained = len(sample.users) + sample.merged + len(sample.bad) + sample.left_out

    assert sample.rows == explained
    assert len({user.id for user in sample.users}) == len(sample.users)


def test_every_file_is_used() -> None:
    """No sample lies in the folder without an expectation."""
    used = {name for sample in SAMPLES.values() for name in sample.files}
    used |= {content["from"] for sample in SAMPLES.values() for content in sample.make.values() if "from" in content}

    assert {path.name for path in FOLDER.iterdir()} - {"expected.toml"} == used


def document_of(result: CommandResult) -> Any:
    """Return the JSON document; a command that printed none fails the test with what it said."""
    assert result.out.startswith("{"), result.output
    return result.document


def assert_refused(result: CommandResult, sample: Sample) -> None:
    """The error names what is wrong and what to do."""
    assert sample.refused is not None
    assert result.code == sample.refused.exit, result.output
    assert not [text for text in sample.refused.says if text not in result.message], result.message
    assert_private(result, sample)


def assert_stopped(document: Any, sample: Sample) -> None:
    """The report says why the rest of the file was not read, or that all of it was."""
    assert bool(document["stopped"]) == bool(sample.stopped)
    assert not [text for text in sample.stopped if text not in document["stopped"]]


def assert_bad_rows(document: Any, expected: list[ExpectedBadRow] | Any) -> None:
    """Exactly these rows are bad, each for the right reason."""
    rows = document["bad_rows"]

    assert document["bad_row_count"] == len(expected), rows
    assert [(row["line"], row.get("file")) for row in rows] == [
        (row.line, row.file or found.get("file")) for row, found in zip(expected, rows, strict=True)
    ]
    wrong = [found for row, found in zip(expected, rows, strict=True) if row.problem not in found["problem"]]
    assert not wrong, [row.problem for row in expected]


def assert_sent(result: CommandResult, vendors: Vendors, sample: Sample) -> None:
    """The report of a command with a ledger is right, and so is what both vendors have."""
    if sample.refused is not None:
        assert_refused(result, sample)
    else:
        document = document_of(result)
        assert result.code == sample.exit_code, result.output
        assert_bad_rows(document, sample.bad)
        assert_stopped(document, sample)
        assert_no_row_is_lost(document, sample)
        assert_private(result, sample)
    assert_stored(vendors, sample)


def assert_stored(vendors: Vendors, sample: Sample) -> None:
    """Each vendor has exactly the users; none if the file must be refused."""
    assert_stored_at_fullstory(vendors.fullstory.users, sample)
    assert_stored_at_logrocket(vendors.logrocket.users, sample)


def assert_no_row_is_lost(document: Any, sample: Sample) -> None:
    """Each row of the file is accounted for at each vendor."""
    assert document["rows"] == sample.rows - sample.left_out, document["rows"]
    for vendor in VENDORS:
        counts = document["backends"][vendor]
        empty = [user for user in sample.users if vendor == "logrocket" and user.is_empty and not user.rejected_by]
        assert counts["unchanged"] == len(empty)
        assert counts["given"] == counts["accepted"] + counts["rejected"] + len(empty)
        assert counts["given"] + counts["coalesced"] + document["bad_row_count"] + sample.left_out == sample.rows
        assert counts["coalesced"] == sample.merged
        assert counts["rejected"] == len([user for user in sample.users if vendor in user.rejected_by])
    rules = {(vendor, user.rule) for user in sample.users for vendor in user.rejected_by if user.rule is not None}
    assert rules <= {
        (vendor, violation["rule"]) for vendor in VENDORS for violation in document["backends"][vendor]["violations"]
    }


def assert_stored_at_fullstory(stored: Mapping[str, FullstoryUser], sample: Sample) -> None:
    """The users are there with their properties, each of the right type."""
    expected = {user.id: user for user in sample.users if "fullstory" not in user.rejected_by}
    found = {user.uid: user for user in stored.values()}

    assert set(found) == set(expected)
    for user_id, user in expected.items():
        properties, types = fullstory_form(user, adapt=sample.adapt)
        assert (found[user_id].display_name, found[user_id].email) == (user.name, user.email)
        assert found[user_id].properties == properties
        assert found[user_id].types == types


def fullstory_form(user: ExpectedUser, *, adapt: bool) -> tuple[dict[str, Any], dict[str, tuple[str, ...]]]:
    """Return the properties and the types that Fullstory must store."""
    properties: dict[str, Any] = {}
    types: dict[str, tuple[str, ...]] = {}
    for path, value in leaves(user.traits):
        names = [fullstory_name(name) if adapt else name for name in path]
        parent = properties
        for name in names[:-1]:
            parent = parent.setdefault(name, {})
        parent[names[-1]] = json_form(value)
        types[".".join(names)] = (user.types.get(".".join(names)) or type_name(value),)
    return properties, types


def fullstory_name(name: str) -> str:
    """Return the name that `--adapt` gives a property (docs/reference/policies.md)."""
    safe = re.sub("[^A-Za-z0-9_]", "_", name)
    return safe if re.match("[A-Za-z]", safe) else f"p_{safe}"


def type_name(value: Any) -> str:
    """Return the type of *value* in Fullstory's terms."""
    return f"{type_name(value[0])}s" if isinstance(value, list) else TYPES[type(value)]


def json_form(value: Any) -> Any:
    """Return *value* as JSON has it."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return value.isoformat() if isinstance(value, date) else value


def assert_stored_at_logrocket(stored: Mapping[str, LogRocketUser], sample: Sample) -> None:
    """The users are there, and each trait is the text that JavaScript makes of it."""
    kept = [user for user in sample.users if "logrocket" not in user.rejected_by and not user.is_empty]
    expected = {user.id: user for user in kept}

    assert set(stored) == set(expected)
    for user_id, user in expected.items():
        traits = {".".join(path): js_text(value) for path, value in leaves(user.traits)}
        assert (stored[user_id].name, stored[user_id].email) == (user.name, user.email)
        assert stored[user_id].traits == traits


def js_text(value: Any) -> str:
    """Return *value* as JavaScript writes it."""
    if isinstance(value, list):
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(json_form(value))


def leaves(traits: Mapping[str, Any], parents: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the path and value of each trait."""
    for name, value in traits.items():
        if isinstance(value, dict):
            yield from leaves(cast("dict[str, Any]", value), (*parents, name))
        else:
            yield (*parents, name), value


def assert_says(result: CommandResult, sample: Sample) -> None:
    """The notes that a person needs are there."""
    said = " ".join(result.output.split())
    assert not [text for text in sample.says if text not in said], said


def assert_private(result: CommandResult, sample: Sample) -> None:
    """No address of a person is printed."""
    del sample
    assert "@example" not in result.output
