"""Settings from a file and the environment."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest

from replay_identity import ConfigurationError, Fullstory, LogRocket, RetryPolicy
from replay_identity.adapters.limits import Unit
from replay_identity.bulk.options import DeliveryOptions
from replay_identity.config import Settings, backends, load_ledger_path, load_settings, read_sections

CANARY = "canary-7Q"
KEY = "org:app:secret"
NO_ENVIRONMENT: Mapping[str, str] = {}


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def load(text: str, environ: Mapping[str, str] = NO_ENVIRONMENT, *, offline: bool = False) -> Settings:
    """Return the settings of a file with *text*."""
    Path("s.toml").write_text(text, encoding="utf-8")
    return load_settings(Path("s.toml"), environ, offline=offline)


def rejection(text: str, environ: Mapping[str, str] = NO_ENVIRONMENT) -> str:
    """Return what is wrong with a file with *text*."""
    with pytest.raises(ConfigurationError) as caught:
        load(text, environ)
    assert caught.value.__cause__ is None
    return str(caught.value)


def returning(cls: type) -> Callable[[str], type]:
    """Return a function of any name that returns *cls*."""

    def load_class(_name: str) -> type:
        return cls

    return load_class


def test_a_file_names_its_backends_in_order() -> None:
    """A table's name is the backend's, and the vendor's too unless it says otherwise."""
    settings = load(
        f"""
        timeout = 7
        [retry]
        attempts = 2
        [backends.logrocket-staging]
        vendor = "logrocket"
        api_key = "{KEY}"
        base_url = "https://staging.example"
        [backends.fullstory]
        on_violation = "adapt"
        api_key = "eu1.key"
        """
    )

    staging = LogRocket(KEY, base_url="https://staging.example", name="logrocket-staging")
    assert settings == Settings(
        (staging, Fullstory("eu1.key", on_violation="adapt")), timeout=7.0, retry=RetryPolicy(attempts=2)
    )
    assert isinstance(settings.timeout, float)


def test_the_default_file_is_read_where_there_is_one(directory: Path) -> None:
    """It is the one in the working directory."""
    environ = {"FULLSTORY_API_KEY": "na1.key"}
    assert load_settings(environ=environ).timeout == 30.0

    (directory / "replay-identity.toml").write_text("\ufefftimeout = 3", encoding="utf-8")

    assert load_settings(environ=environ).timeout == 3.0


def test_without_tables_every_vendor_with_a_key_is_a_backend() -> None:
    """Two variables are all the settings that most need; an empty one is none."""
    both = {"FULLSTORY_API_KEY": "na1.key", "LOGROCKET_API_KEY": KEY, "LOGROCKET_BASE_URL": "http://127.0.0.1:1"}

    assert load_settings(environ=both) == Settings(
        (Fullstory("na1.key"), LogRocket(KEY, base_url="http://127.0.0.1:1"))
    )
    assert load("timeout = 5", {**both, "FULLSTORY_API_KEY": ""}).backends == (
        LogRocket(KEY, base_url="http://127.0.0.1:1"),
    )


def test_the_environment_wins_over_the_file() -> None:
    """A key is better kept there; an empty variable is none."""
    text = '[backends.fullstory]\napi_key = "na1.file"\nbase_url = "https://file.example"'

    settings = load(text, {"FULLSTORY_API_KEY": "na1.environment"})

    assert settings.backends == (Fullstory("na1.environment", base_url="https://file.example"),)
    assert load(text, {"FULLSTORY_API_KEY": ""}).backends == (Fullstory("na1.file", base_url="https://file.example"),)


def test_a_backends_own_variables_come_before_its_vendors() -> None:
    """Those of the vendor fill in what is missing, and never replace what a table says of its own backend."""
    text = '[backends.lr-eu-2]\nvendor = "logrocket"\n'
    vendors = {"LOGROCKET_API_KEY": "a:b:vendor"}

    assert load(text, vendors).backends == (LogRocket("a:b:vendor", name="lr-eu-2"),)
    assert load(text, {**vendors, "LR_EU_2_API_KEY": "a:b:own"}).backends == (LogRocket("a:b:own", name="lr-eu-2"),)
    assert load(f"{text}api_key = 'a:b:file'", vendors).backends == (LogRocket("a:b:file", name="lr-eu-2"),)


def test_no_backend_at_all_is_told_with_what_to_set() -> None:
    """The error is the newcomer's first instruction."""
    with pytest.raises(ConfigurationError) as caught:
        load_settings(environ={})

    assert str(caught.value) == (
        "backends: none is configured; set FULLSTORY_API_KEY or LOGROCKET_API_KEY, or write replay-identity.toml"
    )


def test_offline_needs_no_key() -> None:
    """Planning sends nothing."""
    assert [backend.name for backend in load_settings(environ={}, offline=True).backends] == ["fullstory", "logrocket"]
    assert load("[backends.fullstory]\non_violation = 'adapt'", offline=True).backends == (
        Fullstory("na1.offline", on_violation="adapt"),
    )


def test_a_vendor_of_somebody_elses_gets_its_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever parameters its class has are settings; what is not there is told."""

    @attrs.frozen
    class Acme:
        api_key: str
        port: int
        secure: bool = True

    text = "[backends.acme]\nport = 1\n"
    monkeypatch.setattr(backends, "names", lambda: ["acme"])
    monkeypatch.setattr(backends, "load", returning(Acme))

    expected: tuple[Any, ...] = (Acme("k", 1),)
    assert load(text, {"ACME_API_KEY": "k"}).backends == expected
    assert load(text, {"ACME_API_KEY": "k"}).adapting().backends == expected
    assert load(text, offline=True).backends == (attrs.evolve(expected[0], api_key="offline"),)
    assert rejection("[backends.acme]", {"ACME_API_KEY": "k"}) == "s.toml: backends.acme.port: the setting is missing"


@pytest.mark.parametrize("cls", [int, Exception])
def test_a_vendor_that_takes_no_settings_is_told(monkeypatch: pytest.MonkeyPatch, cls: type) -> None:
    """Its parameters could not be known."""
    monkeypatch.setattr(backends, "load", returning(cls))

    assert "not an attrs class" in rejection("[backends.fullstory]\napi_key = 'k'")


def test_a_vendor_that_refuses_its_settings_is_told_without_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """They may quote the key; a choice is told by what there is to choose from."""

    def refuse(_instance: object, _attribute: object, value: str) -> None:
        raise ValueError(value)

    @attrs.frozen
    class Acme:
        api_key: str = attrs.field(validator=refuse)
        unit: Unit = Unit.TRAITS

    monkeypatch.setattr(backends, "load", returning(Acme))

    assert rejection(f"[backends.fullstory]\napi_key = '{CANARY}'") == "s.toml: backends.fullstory: invalid value"
    assert rejection(f"[backends.fullstory]\napi_key = 'k'\nunit = '{CANARY}'") == (
        f"s.toml: backends.fullstory.unit: expected one of {', '.join(Unit)}"
    )


UNUSABLE_KEY = "expected printable ASCII without spaces; pass the key alone, without a scheme or a line break"
PLAIN_HTTP = "plain http would expose the key and the users; use https, or pass allow_insecure=True"
NO_ORG = "does not read org:app:secret; pass the whole key, or org as well"
NO_VENDOR = "is no vendor that is installed; there are fullstory, logrocket"
NO_NAME = "is not a setting; a backend is named by its table"
DELIVERY = "s.toml: delivery.fullstory"
OPTIONS = (
    "use one of connections, requests_per_minute, batch_users, batch_bytes, timeout, patience, wait_initial, "
    "wait_max, poll_initial, poll_max"
)
FULLSTORY = "[backends.fullstory]\napi_key = 'k'\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"timeout = '{CANARY}'", "s.toml: timeout: expected a number"),
        ("timeout = true", "s.toml: timeout: expected a number"),
        ("timeout = 0", "s.toml: timeout: expected a number greater than 0"),
        ("timeout = nan", "s.toml: timeout: expected a number greater than 0"),
        ("retry = 7", "s.toml: retry: expected a table"),
        ("backends = 7", "s.toml: backends: expected a table"),
        (f"backends.fullstory = '{CANARY}'", "s.toml: backends.fullstory: expected a table"),
        ("[retry]\nattempts = 1.5", "s.toml: retry.attempts: expected a whole number"),
        ("[retry]\nattempts = 0", "s.toml: retry.attempts: expected a number greater than 0"),
        (
            f"time-out = '{CANARY}'",
            "s.toml: time-out: unknown setting; use one of timeout, retry, ledger, backends, delivery",
        ),
        ("ledger = 7", "s.toml: ledger: expected a string"),
        ("ledger = ''", "s.toml: ledger: is empty"),
        ("delivery = 7", "s.toml: delivery: expected a table"),
        ("delivery.fullstory = 7", "s.toml: delivery.fullstory: expected a table"),
        ("[delivery.fullstory]\nconnections = 1.5", "s.toml: delivery.fullstory.connections: expected a whole number"),
        ("[delivery.fullstory]\npatience = 0", "s.toml: delivery.fullstory.patience: expected a number greater than 0"),
        (f"[delivery.fullstory]\nbatch_users = '{CANARY}'", f"{DELIVERY}.batch_users: expected a whole number"),
        (f"[delivery.fullstory]\nbatch = '{CANARY}'", f"{DELIVERY}.batch: unknown setting; {OPTIONS}"),
        (f"{FULLSTORY}[delivery.acme]", "s.toml: delivery.acme: is no backend; there are fullstory"),
        (
            f"{FULLSTORY}on_violation = '{CANARY}'",
            "s.toml: backends.fullstory.on_violation: expected one of reject, adapt",
        ),
        (
            f"{FULLSTORY}allow_insecure = '{CANARY}'",
            "s.toml: backends.fullstory.allow_insecure: expected true or false",
        ),
        (f"{FULLSTORY}base_url = 7", "s.toml: backends.fullstory.base_url: expected a string"),
        (f"{FULLSTORY}name = '{CANARY}'", f"s.toml: backends.fullstory.name: {NO_NAME}"),
        (f"[backends.fullstory]\napi_key = '{CANARY} '", f"s.toml: backends.fullstory.api_key: {UNUSABLE_KEY}"),
        (f'[backends.fullstory]\napi_key = "{CANARY}\\n"', f"s.toml: backends.fullstory.api_key: {UNUSABLE_KEY}"),
        (f"{FULLSTORY}base_url = 'http://{CANARY}.example'", f"s.toml: backends.fullstory.base_url: {PLAIN_HTTP}"),
        (f"[backends.logrocket]\napi_key = '{CANARY}'", f"s.toml: backends.logrocket.api_key: {NO_ORG}"),
        ("[backends.fullstory]", "FULLSTORY_API_KEY: is not set; or s.toml: backends.fullstory.api_key"),
        ("[backends.fs]\nvendor = 7", "s.toml: backends.fs.vendor: is not a string"),
        (f"[backends.fs]\nvendor = '{CANARY}'", f"s.toml: backends.fs.vendor: {NO_VENDOR}"),
        ("[backends.fs]", f"s.toml: backends.fs: {NO_VENDOR}"),
        (f"a = {CANARY}", "s.toml: not valid TOML at line 1, column 5"),
        (f"a = '{CANARY}", "s.toml: not valid TOML: the file ends too early"),
        ("a = [1,", "s.toml: not valid TOML: the file ends too early"),
        (f"a = {'[' * 100_000}", "s.toml: nested too deeply"),
    ],
)
def test_a_wrong_setting_is_named_by_its_path_and_not_quoted(text: str, told: str) -> None:
    """The message says where to look and what can stand there."""
    assert rejection(text) == told


def test_an_unknown_setting_of_a_backend_is_told_with_the_known_ones() -> None:
    """Those that its class has, but for the name, which the table gives."""
    assert rejection(f"{FULLSTORY}apikey = '{CANARY}'") == (
        "s.toml: backends.fullstory.apikey: unknown setting; "
        "use one of api_key, base_url, on_violation, allow_insecure, integration_source"
    )


@pytest.mark.parametrize(
    ("variable", "value"),
    [("FULLSTORY_API_KEY", f"{CANARY}\n"), ("FULLSTORY_BASE_URL", f"http://{CANARY}.example")],
)
def test_a_wrong_value_in_the_environment_is_named_by_its_variable(variable: str, value: str) -> None:
    """The file would be the wrong place to look."""
    told = rejection("[backends.fullstory]", {"FULLSTORY_API_KEY": "k", variable: value})

    assert told.startswith(f"{variable}: ")
    assert CANARY not in told


def test_a_file_that_cannot_be_read_is_told(directory: Path) -> None:
    """One that was asked for must be there."""
    (directory / "latin.toml").write_bytes(f"# {CANARY} \xff".encode("latin-1"))
    told: dict[str, str] = {}
    for name in ("missing.toml", ".", "latin.toml", "a\0b"):
        with pytest.raises(ConfigurationError) as caught:
            load_settings(Path(name), {})
        told[name] = str(caught.value)

    assert told == {
        "missing.toml": "missing.toml: cannot be read: No such file or directory",
        ".": ".: cannot be read: Is a directory",
        "latin.toml": "latin.toml: not valid UTF-8; save the file as UTF-8",
        "a\0b": "a\0b: cannot be read: ValueError",
    }


def test_each_backend_may_say_how_it_is_delivered_to_in_bulk() -> None:
    """By the name of the backend, and only what differs from the defaults."""
    text = """
        [backends.fs]
        vendor = "fullstory"
        [delivery.fs]
        requests_per_minute = 600
        batch_users = 100
    """

    settings = load(text, {"FS_API_KEY": "k"})

    assert settings.delivery == {"fs": DeliveryOptions(requests_per_minute=600.0, batch_users=100)}
    assert load("timeout = 5", {"FULLSTORY_API_KEY": "k"}).delivery == {}


def test_delivery_goes_by_the_name_that_a_backend_has_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """A class that takes no name is found by its table all the same."""

    @attrs.frozen
    class Acme:
        name: str = attrs.field(default="acme-replay", init=False)

    monkeypatch.setattr(backends, "names", lambda: ["acme"])
    monkeypatch.setattr(backends, "load", returning(Acme))

    settings = load("[backends.acme]\n[delivery.acme]\nconnections = 2")

    assert settings.delivery == {"acme-replay": DeliveryOptions(connections=2)}


def test_the_ledger_is_beside_the_file_that_names_it(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever the command is run; one in the home directory and an absolute one stay where they are."""
    monkeypatch.setenv("HOME", str(directory / "home"))
    (directory / "deep").mkdir()
    file = directory / "deep" / "s.toml"
    expected = {"ours.db": "deep/ours.db", "~/ours.db": "home/ours.db", str(directory / "ours.db"): "ours.db"}

    for written, meant in expected.items():
        file.write_text(f"ledger = '{written}'", encoding="utf-8")

        assert load_ledger_path(file) == directory / meant
        assert load_settings(file, {"FULLSTORY_API_KEY": "k"}).ledger == directory / meant


def test_no_file_names_no_ledger(directory: Path) -> None:
    """Nor does one that says nothing of it; no backend has to be configured to ask."""
    assert load_ledger_path() is None

    (directory / "replay-identity.toml").write_text("ledger = 'ours.db'", encoding="utf-8")

    assert load_ledger_path() == Path("ours.db")


def test_adapting_changes_every_backend_and_nothing_else() -> None:
    """It is the other policy, for all."""
    settings = load(f"{FULLSTORY}[backends.logrocket]\napi_key = '{KEY}'")

    adapting: Any = settings.adapting()

    assert adapting.backends == (Fullstory("k", on_violation="adapt"), LogRocket(KEY, on_violation="adapt"))
    assert attrs.evolve(adapting, backends=settings.backends) == settings


def test_nothing_shows_a_key() -> None:
    """Neither the settings nor what they are made of."""
    text = f"[backends.fullstory]\napi_key = '{CANARY}'"
    shown = [load(text), load(text).backends, *read_sections(Path("s.toml"), {"FULLSTORY_API_KEY": CANARY})]

    assert CANARY not in repr(shown)
