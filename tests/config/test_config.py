"""Settings from a TOML file and the environment."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest

from replay_identity import ConfigurationError, Fullstory, LogRocket, RetryPolicy
from replay_identity.adapters import Unit
from replay_identity.bulk.options import DeliveryOptions
from replay_identity.config import Settings, backends, load_backend_settings, load_ledger_path, load_settings

CANARY = "canary-7Q"
KEY = "org:app:secret"
NO_ENVIRONMENT: Mapping[str, str] = {}


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run each test in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def load(text: str, environ: Mapping[str, str] = NO_ENVIRONMENT, *, offline: bool = False) -> Settings:
    """Return the settings in a file with *text*."""
    Path("s.toml").write_text(text, encoding="utf-8")
    return load_settings(Path("s.toml"), environ, offline=offline)


def load_error(text: str, environ: Mapping[str, str] = NO_ENVIRONMENT) -> ConfigurationError:
    """Return the error raised for a file with *text*."""
    with pytest.raises(ConfigurationError) as caught:
        load(text, environ)
    assert caught.value.__cause__ is None
    return caught.value


def returning(cls: type) -> Callable[[str], type]:
    """Return a replacement for `load_backend_class` that returns *cls*."""

    def load_class(_name: str) -> type:
        return cls

    return load_class


def test_backends_keep_the_order_of_the_file() -> None:
    """A table's name is the backend's name, and also the vendor's unless `vendor` is set."""
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


def test_the_default_file_is_optional(directory: Path) -> None:
    """It is read from the working directory if it exists."""
    environ = {"FULLSTORY_API_KEY": "na1.key"}
    assert load_settings(environ=environ).timeout == 30.0

    (directory / "replay-identity.toml").write_text("\ufefftimeout = 3", encoding="utf-8")

    assert load_settings(environ=environ).timeout == 3.0


def test_without_tables_each_key_makes_a_backend() -> None:
    """An empty variable counts as not set."""
    both = {"FULLSTORY_API_KEY": "na1.key", "LOGROCKET_API_KEY": KEY, "LOGROCKET_BASE_URL": "http://127.0.0.1:1"}

    assert load_settings(environ=both) == Settings(
        (Fullstory("na1.key"), LogRocket(KEY, base_url="http://127.0.0.1:1"))
    )
    assert load("timeout = 5", {**both, "FULLSTORY_API_KEY": ""}).backends == (
        LogRocket(KEY, base_url="http://127.0.0.1:1"),
    )


def test_the_environment_overrides_the_file() -> None:
    """An empty variable overrides nothing."""
    text = '[backends.fullstory]\napi_key = "na1.file"\nbase_url = "https://file.example"'

    settings = load(text, {"FULLSTORY_API_KEY": "na1.environment"})

    assert settings.backends == (Fullstory("na1.environment", base_url="https://file.example"),)
    assert load(text, {"FULLSTORY_API_KEY": ""}).backends == (Fullstory("na1.file", base_url="https://file.example"),)


def test_vendor_variables_only_fill_in_missing_settings() -> None:
    """The backend's own variables override the table; the vendor's variables do not."""
    text = '[backends.lr-eu-2]\nvendor = "logrocket"\n'
    vendors = {"LOGROCKET_API_KEY": "a:b:vendor"}

    assert load(text, vendors).backends == (LogRocket("a:b:vendor", name="lr-eu-2"),)
    assert load(text, {**vendors, "LR_EU_2_API_KEY": "a:b:own"}).backends == (LogRocket("a:b:own", name="lr-eu-2"),)
    assert load(f"{text}api_key = 'a:b:file'", vendors).backends == (LogRocket("a:b:file", name="lr-eu-2"),)


def test_no_backend_is_an_error_with_instructions() -> None:
    """A new user sees this error first, so it says which variables to set."""
    with pytest.raises(ConfigurationError) as caught:
        load_settings(environ={})

    assert caught.value.setting == "backends"
    assert "FULLSTORY_API_KEY or LOGROCKET_API_KEY" in caught.value.hint


def test_offline_backends_need_no_key() -> None:
    """A placeholder is enough for planning."""
    assert [backend.name for backend in load_settings(environ={}, offline=True).backends] == ["fullstory", "logrocket"]
    assert load("[backends.fullstory]\non_violation = 'adapt'", offline=True).backends == (
        Fullstory("na1.offline", on_violation="adapt"),
    )


def test_a_contributed_class_gets_its_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every parameter of the class is a setting; a missing one is an error."""

    @attrs.frozen
    class Acme:
        api_key: str
        port: int
        secure: bool = True

    text = "[backends.acme]\nport = 1\n"
    monkeypatch.setattr(backends, "installed_vendors", lambda: ["acme"])
    monkeypatch.setattr(backends, "load_backend_class", returning(Acme))

    expected: tuple[Any, ...] = (Acme("k", 1),)
    assert load(text, {"ACME_API_KEY": "k"}).backends == expected
    assert load(text, {"ACME_API_KEY": "k"}).with_adaptation().backends == expected
    assert load(text, offline=True).backends == (attrs.evolve(expected[0], api_key="offline"),)
    assert load_error("[backends.acme]", {"ACME_API_KEY": "k"}).setting == "s.toml: backends.acme.port"


@pytest.mark.parametrize("cls", [int, Exception])
def test_a_backend_class_must_be_an_attrs_class(monkeypatch: pytest.MonkeyPatch, cls: type) -> None:
    """The parameters of other classes are unknown."""
    monkeypatch.setattr(backends, "load_backend_class", returning(cls))

    assert "attrs class" in load_error("[backends.fullstory]\napi_key = 'k'").problem


def test_errors_of_a_backend_class_are_not_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their text may quote the key; for a choice, the alternatives are listed."""

    def reject(_instance: object, _attribute: object, value: str) -> None:
        raise ValueError(value)

    @attrs.frozen
    class Acme:
        api_key: str = attrs.field(validator=reject)
        unit: Unit = Unit.TRAITS

    monkeypatch.setattr(backends, "load_backend_class", returning(Acme))

    wrong_key = load_error(f"[backends.fullstory]\napi_key = '{CANARY}'")
    wrong_unit = load_error(f"[backends.fullstory]\napi_key = 'k'\nunit = '{CANARY}'")
    assert str(wrong_key) == "s.toml: backends.fullstory: invalid value"
    assert str(wrong_unit) == f"s.toml: backends.fullstory.unit: expected one of {', '.join(Unit)}"


FULLSTORY = "[backends.fullstory]\napi_key = 'k'\n"


@pytest.mark.parametrize(
    ("text", "setting", "problem"),
    [
        (f"timeout = '{CANARY}'", "timeout", "expected a number"),
        ("timeout = true", "timeout", "expected a number"),
        ("timeout = 0", "timeout", "expected a number greater than 0"),
        ("timeout = nan", "timeout", "expected a number greater than 0"),
        ("retry = 7", "retry", "expected a table"),
        ("backends = 7", "backends", "expected a table"),
        (f"backends.fullstory = '{CANARY}'", "backends.fullstory", "expected a table"),
        ("[retry]\nattempts = 1.5", "retry.attempts", "expected a whole number"),
        ("[retry]\nattempts = 0", "retry.attempts", "expected a number greater than 0"),
        (f"time-out = '{CANARY}'", "time-out", "unknown setting"),
        ("ledger = 7", "ledger", "expected a string"),
        ("ledger = ''", "ledger", "expected the path of a file, got an empty string"),
        ("delivery = 7", "delivery", "expected a table"),
        ("delivery.fullstory = 7", "delivery.fullstory", "expected a table"),
        ("[delivery.fullstory]\nconnections = 1.5", "delivery.fullstory.connections", "expected a whole number"),
        ("[delivery.fullstory]\npatience = 0", "delivery.fullstory.patience", "expected a number greater than 0"),
        (
            f"[delivery.fullstory]\nbatch_users = '{CANARY}'",
            "delivery.fullstory.batch_users",
            "expected a whole number",
        ),
        (f"[delivery.fullstory]\nbatch = '{CANARY}'", "delivery.fullstory.batch", "unknown setting"),
        (f"{FULLSTORY}[delivery.acme]", "delivery.acme", "unknown backend"),
        (f"{FULLSTORY}on_violation = '{CANARY}'", "backends.fullstory.on_violation", "expected one of reject, adapt"),
        (f"{FULLSTORY}write = '{CANARY}'", "backends.fullstory.write", "expected one of upsert, stream"),
        (f"{FULLSTORY}write = 7", "backends.fullstory.write", "expected one of upsert, stream"),
        (f"{FULLSTORY}allow_insecure = '{CANARY}'", "backends.fullstory.allow_insecure", "expected true or false"),
        (f"{FULLSTORY}base_url = 7", "backends.fullstory.base_url", "expected a string"),
        (f"{FULLSTORY}name = '{CANARY}'", "backends.fullstory.name", "not a setting"),
        (f"[backends.fullstory]\napi_key = '{CANARY} '", "backends.fullstory.api_key", "expected printable ASCII"),
        (f'[backends.fullstory]\napi_key = "{CANARY}\\n"', "backends.fullstory.api_key", "expected printable ASCII"),
        (f"{FULLSTORY}base_url = 'http://{CANARY}.example'", "backends.fullstory.base_url", "plain http"),
        (f"[backends.logrocket]\napi_key = '{CANARY}'", "backends.logrocket.api_key", "org:app:secret"),
        ("[backends.fs]\nvendor = 7", "backends.fs.vendor", "expected a string"),
        (f"[backends.fs]\nvendor = '{CANARY}'", "backends.fs.vendor", "unknown vendor"),
        ("[backends.fs]", "backends.fs", "unknown vendor"),
    ],
)
def test_an_error_names_the_setting_without_its_value(text: str, setting: str, problem: str) -> None:
    """It contains the path of the setting and the expected kind of value."""
    error = load_error(text)

    assert error.setting == f"s.toml: {setting}"
    assert problem in error.problem
    assert CANARY not in str(error)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (f"a = {CANARY}", "not valid TOML at line 1, column 5"),
        (f"a = '{CANARY}", "not valid TOML: the file ends too early"),
        ("a = [1,", "not valid TOML: the file ends too early"),
        (f"a = {'[' * 100_000}", "nested too deeply"),
    ],
)
def test_invalid_toml_is_not_quoted(text: str, problem: str) -> None:
    """The error contains the file and the position."""
    assert str(load_error(text)) == f"s.toml: {problem}"


def test_a_missing_key_names_its_variable() -> None:
    """The environment is the better place for a key, so the hint mentions the file second."""
    error = load_error("[backends.fullstory]")

    assert error.setting == "FULLSTORY_API_KEY"
    assert "api_key in s.toml: backends.fullstory" in error.hint


def test_an_unknown_setting_lists_the_known_ones() -> None:
    """They are the parameters of the class except the name, which is the table's."""
    error = load_error(f"{FULLSTORY}apikey = '{CANARY}'")

    assert error.setting == "s.toml: backends.fullstory.apikey"
    assert error.hint == (
        "did you mean api_key? "
        "use one of api_key, base_url, on_violation, allow_ids, allow_insecure, write, integration_source"
    )


def test_a_file_may_set_the_way_to_write() -> None:
    """As it sets what the other parameters of a class are."""
    settings = load("[backends.fullstory]\nwrite = 'stream'", offline=True)

    assert settings.backends == (Fullstory("na1.offline", write="stream"),)


@pytest.mark.parametrize(
    ("variable", "value"),
    [("FULLSTORY_API_KEY", f"{CANARY}\n"), ("FULLSTORY_BASE_URL", f"http://{CANARY}.example")],
)
def test_an_invalid_variable_is_named(variable: str, value: str) -> None:
    """The error contains the variable, not the file."""
    error = load_error("[backends.fullstory]", {"FULLSTORY_API_KEY": "k", variable: value})

    assert error.setting == variable
    assert CANARY not in str(error)


def test_an_unreadable_file_is_an_error(directory: Path) -> None:
    """A file given by the caller must exist."""
    (directory / "latin.toml").write_bytes(f"# {CANARY} \xff".encode("latin-1"))
    errors: dict[str, str] = {}
    for name in ("missing.toml", ".", "latin.toml", "a\0b"):
        with pytest.raises(ConfigurationError) as caught:
            load_settings(Path(name), {})
        errors[name] = str(caught.value)

    assert errors == {
        "missing.toml": "missing.toml: cannot be read: No such file or directory",
        ".": ".: cannot be read: Is a directory",
        "latin.toml": "latin.toml: not valid UTF-8; save the file as UTF-8",
        "a\0b": "a\0b: cannot be read: ValueError",
    }


def test_delivery_options_belong_to_one_backend() -> None:
    """They are set by the backend's name; the rest are defaults."""
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


def test_delivery_options_follow_a_fixed_backend_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A class without a `name` parameter is configured by the name of its table."""

    @attrs.frozen
    class Acme:
        name: str = attrs.field(default="acme-replay", init=False)

    monkeypatch.setattr(backends, "installed_vendors", lambda: ["acme"])
    monkeypatch.setattr(backends, "load_backend_class", returning(Acme))

    settings = load("[backends.acme]\n[delivery.acme]\nconnections = 2")

    assert settings.delivery == {"acme-replay": DeliveryOptions(connections=2)}


def test_the_ledger_path_is_relative_to_the_settings_file(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Absolute paths and paths in the home directory stay as they are."""
    monkeypatch.setenv("HOME", str(directory / "home"))
    (directory / "deep").mkdir()
    file = directory / "deep" / "s.toml"
    expected = {"ours.db": "deep/ours.db", "~/ours.db": "home/ours.db", str(directory / "ours.db"): "ours.db"}

    for written, resolved in expected.items():
        file.write_text(f"ledger = '{written}'", encoding="utf-8")

        assert load_ledger_path(file) == directory / resolved
        assert load_settings(file, {"FULLSTORY_API_KEY": "k"}).ledger == directory / resolved


def test_the_ledger_path_needs_no_backends(directory: Path) -> None:
    """Without a file or a setting there is no path."""
    assert load_ledger_path() is None

    (directory / "replay-identity.toml").write_text("ledger = 'ours.db'", encoding="utf-8")

    assert load_ledger_path() == Path("ours.db")


def test_with_adaptation_only_changes_backends() -> None:
    """Every backend adapts; the other settings are unchanged."""
    settings = load(f"{FULLSTORY}[backends.logrocket]\napi_key = '{KEY}'")

    adapting: Any = settings.with_adaptation()

    assert adapting.backends == (Fullstory("k", on_violation="adapt"), LogRocket(KEY, on_violation="adapt"))
    assert attrs.evolve(adapting, backends=settings.backends) == settings


def test_no_repr_contains_a_key() -> None:
    """This includes the backends and the file's content."""
    text = f"[backends.fullstory]\napi_key = '{CANARY}'"
    shown = [load(text), load(text).backends, *load_backend_settings(Path("s.toml"), {"FULLSTORY_API_KEY": CANARY})]

    assert CANARY not in repr(shown)
