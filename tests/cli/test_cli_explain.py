"""`replay-identity explain`."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from support.commands import CommandResult, RunCommand, WriteRows
from support.vendors import Vendors

from replay_identity import Broken, Unknown, UserTraits
from replay_identity.emulator import Fault
from replay_identity.ledger import Account, Batch, JobEntry, Ledger, Settlement

USERS: Final[list[dict[str, Any]]] = [
    {"id": "u1", "plan": "canary-pro", "bio": "x" * 1100},
    {"id": "u2", "plan": "canary-free"},
]


@pytest.fixture(autouse=True)
def _our_ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPLAY_IDENTITY_LEDGER", "our.db")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()


@pytest.fixture(autouse=True, scope="module")
def _reset_time_zone() -> Iterator[None]:
    yield
    time.tzset()


@pytest.fixture
def explain(run: RunCommand) -> RunCommand:
    """Return a function that runs the command, and checks that no value is printed unless asked for."""

    def run_explain(*arguments: str, **options: Any) -> CommandResult:
        result = run("explain", *arguments, **options)
        assert "--show-values" in arguments or "canary" not in result.out + result.err
        return result

    return run_explain


@pytest.fixture
def synced(run: RunCommand, vendors: Vendors, write: WriteRows) -> Vendors:
    """Return both vendors after a sync of two users; LogRocket rejects the first one."""
    assert run("sync", write(USERS)).code == 1
    return vendors


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    """Yield a ledger in which acme has one pending user."""
    with Ledger("our.db") as ledger:
        ledger.upsert([UserTraits("u1", traits={"plan": "canary"})], ["acme"])
        yield ledger


def test_a_rejected_user_has_a_limit_and_a_time(explain: RunCommand, synced: Vendors) -> None:
    """The other vendor has confirmed the user; times have the zone of the machine."""
    del synced

    result = explain("u1")

    assert result.code == 0
    assert result.lines[:2] == ["u1", "Backend State Last confirmed Explanation"]
    assert result.lines[3].startswith("fullstory confirmed ")
    assert result.lines[3].endswith(" JST no field differs")
    assert result.lines[4].startswith("logrocket rejected never rejected ")
    assert "logrocket: rejected" in result.lines
    assert "traits.bio trait-value-length 1,024 UTF-16 units 1,100" in result.lines
    assert "would be rejected" not in result.out


def test_a_delivered_user_has_only_fingerprints(explain: RunCommand, synced: Vendors) -> None:
    """Values are erased after delivery, and the command says so if it is asked for them."""
    del synced

    result, values = explain("u2"), explain("u2", "--show-values")

    assert (result.code, values.code) == (0, 0)
    assert result.lines[3].endswith(" 1 field confirmed")
    assert result.err == ""
    assert values.err.startswith("The ledger has no values of this user")


def test_values_are_shown_only_on_request(explain: RunCommand, synced: Vendors) -> None:
    """They are the desired ones of the fields that differ."""
    del synced
    with Ledger("our.db") as ledger:
        ledger.upsert([UserTraits("u2", traits={"plan": "canary-pro"})], ["logrocket"])

    names, values = explain("u2", "--to", "logrocket"), explain("u2", "--to", "logrocket", "--show-values")

    assert names.lines[3].startswith("logrocket pending ")
    assert names.lines[3].endswith(" 1 field differs")
    assert names.lines[-2] == "traits.plan"
    assert values.lines[-2] == 'traits.plan "canary-pro"'


def test_the_document_has_iso_times_and_no_values(explain: RunCommand, synced: Vendors) -> None:
    """The id is the one that was typed."""
    del synced
    with Ledger("our.db") as ledger:
        ledger.upsert([UserTraits("u2", traits={"plan": "canary-pro"})], ["logrocket"])

    document = explain("u2", "--json").document

    assert (document["ledger"], document["user_id"], document["known"]) == ("our.db", "u2", True)
    fullstory, logrocket = document["accounts"]
    assert fullstory["confirmed_at"].endswith("Z")
    assert logrocket["differing_fields"] == ["traits.plan"]
    assert "values" not in logrocket
    with_values = explain("u2", "--json", "--show-values").document["accounts"][1]
    assert with_values["values"] == {"traits.plan": "canary-pro"}


@pytest.mark.usefixtures("synced")
def test_an_unknown_user_exits_with_1(explain: RunCommand) -> None:
    """A sentence says so, or the document does."""
    result = explain("canary-u9".removeprefix("canary-"))
    document = explain("u9", "--json")

    assert (result.code, document.code) == (1, 1)
    assert result.out == "The ledger our.db does not know this user.\n"
    assert document.document == {
        "ledger": "our.db",
        "user_id": "u9",
        "known": False,
        "has_values": False,
        "accounts": [],
    }


def test_keys_are_not_needed(explain: RunCommand, synced: Vendors) -> None:
    """The fields are compared all the same."""
    del synced

    result = explain("u1", env={"FULLSTORY_API_KEY": "", "LOGROCKET_API_KEY": ""})

    assert result.code == 0
    assert result.lines[3].endswith(" JST no field differs")


def test_without_usable_settings_the_ledger_explains(explain: RunCommand, synced: Vendors) -> None:
    """A note says why fields are not compared."""
    del synced
    Path("replay-identity.toml").write_text("[backends.fullstory]\nno_such_setting = 1\n", encoding="utf-8")

    result = explain("u1")

    assert result.code == 0
    assert result.lines[3].endswith(" 2 fields confirmed")
    assert "Fields are not compared: replay-identity.toml: " in result.err


@pytest.mark.usefixtures("ledger")
def test_a_backend_that_is_not_in_the_settings_is_named(explain: RunCommand) -> None:
    """Its users are pending, but nothing can encode them."""
    result = explain("u1")

    assert result.lines[3] == "acme pending never"
    assert result.err == "acme is not in the settings, so its fields are not compared.\n"


def test_a_user_in_a_job_is_explained(explain: RunCommand, ledger: Ledger) -> None:
    """The outcome is not known before the job has ended."""
    ledger.start_job("acme", Batch("key", [JobEntry(1, 1, "u1")], b"body"))

    assert "acme in a job never an import job in flight includes the user" in explain("u1").lines


def test_a_deferred_user_has_a_time(explain: RunCommand, ledger: Ledger) -> None:
    """It is the time before which nothing is sent."""
    (claim,) = ledger.claim("acme")
    outcome = Unknown("acme", "a login page")
    ledger.settle("acme", [Settlement(claim.row_id, claim.version, outcome, not_before=4_000_000_000)])

    result = explain("u1", env={"COLUMNS": "120"})

    assert "acme deferred never sent again after 2096-10-02 16:06:40 JST" in result.lines


def test_doubt_is_explained(run: RunCommand, explain: RunCommand, vendors: Vendors, write: WriteRows) -> None:
    """Nobody knows what the vendor has until the next answer."""
    file = write(USERS[1:])
    run("sync", file)
    Path("replay-identity.toml").write_text(
        "[backends.logrocket]\n[delivery.logrocket]\npatience = 0.2\nwait_initial = 0.05\nwait_max = 0.1\n",
        encoding="utf-8",
    )
    vendors.logrocket.faults.add(Fault(drop="after", times=None))
    assert run("sync", write([{"id": "u2", "plan": "canary-pro"}])).code == 75

    result = explain("u2", "--to", "logrocket", env={"COLUMNS": "200"})

    assert "something was sent without an answer, so nothing counts as confirmed; 1 field differs" in result.out


def test_a_user_who_would_be_rejected_is_explained(explain: RunCommand, vendors: Vendors) -> None:
    """Nothing was sent yet, but the limits are known."""
    del vendors
    with Ledger("our.db") as ledger:
        ledger.upsert([UserTraits("u1", traits={"bio": "x" * 1100, "a": 1, "A.b": {}})], ["logrocket"])

    rejected, adapted = explain("u1"), explain("u1", "--adapt")

    assert "logrocket: would be rejected" in rejected.lines
    assert "would be rejected" not in adapted.out
    assert "traits.bio" in adapted.lines


def test_a_vendors_reason_is_one_line(explain: RunCommand, ledger: Ledger) -> None:
    """A rejection without a limit, such as one by a broken adapter, has no table."""
    (claim,) = ledger.claim("acme")
    ledger.settle("acme", [Settlement(claim.row_id, claim.version, Broken("acme", "ValueError"))])

    assert "acme: rejected: the adapter failed: ValueError" in explain("u1").lines


def test_losses_are_listed(run: RunCommand, explain: RunCommand, vendors: Vendors, write: WriteRows) -> None:
    """They are what a limit kept from the vendor."""
    del vendors
    assert run("sync", write(USERS), "--adapt").code == 0

    result = explain("u1", "--adapt")

    assert "logrocket: lost because of limits" in result.lines
    assert any(line.startswith("traits.bio truncated ") for line in result.lines)


@pytest.mark.usefixtures("ledger")
def test_rules_without_a_measure_leave_cells_empty(explain: RunCommand, vendors: Vendors) -> None:
    """A name that Fullstory does not accept breaks no maximum."""
    del vendors
    with Ledger("our.db") as ledger:
        ledger.upsert([UserTraits("u1", traits={"a-b": 1})], ["fullstory"])

    assert "traits.a-b property-name" in explain("u1", "--to", "fullstory").lines


def test_an_old_account_has_its_name(explain: RunCommand, ledger: Ledger) -> None:
    """The account used last has the name of the backend alone."""
    ledger.open_account(Account("acme", "acme.example/1"))
    ledger.open_account(Account("acme", "acme.example/2"))

    lines = explain("u1", env={"COLUMNS": "120"}).lines

    assert lines[3:5] == ["acme at acme.example/1 pending never", "acme not sent never"]


def test_wrong_usage_exits_with_2(explain: RunCommand, vendors: Vendors) -> None:
    """A missing ledger is not created, and no argument is quoted."""
    del vendors
    missing = explain("u1")
    assert (missing.code, Path("our.db").exists()) == (2, False)
    Ledger("our.db").close()

    extra, backend = explain("canary", "u1"), explain("u1", "--to", "nobody")

    assert (extra.code, backend.code) == (2, 2)
    assert "expected one id" in extra.message


def test_a_rejected_id_names_the_setting_that_allows_it(
    explain: RunCommand, run: RunCommand, vendors: Vendors, write: WriteRows
) -> None:
    """The id may be real."""
    del vendors
    assert run("sync", write([{"id": "%user_id%"}])).code == 1

    lines = explain("%user_id%").lines

    hint = 'if such ids are real, set allow_ids = ["placeholder-id"] in its table of the settings file'
    assert f"fullstory: {hint}" in lines
