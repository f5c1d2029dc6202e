"""Commands without a test module of their own, and what all commands have in common."""

import codecs
import io
import logging
import sys
from collections.abc import Callable, Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import orjson
import pytest
from support import sample_users
from support.commands import RunCommand, WriteRows, start_command
from support.vendors import Vendors

from replay_identity import Fullstory, LogRocket, cli
from replay_identity.adapters import Limit, Operation, Unit
from replay_identity.cli import app, emulate
from replay_identity.cli.exit_codes import ExitCode
from replay_identity.cli.terminal import stdout_console
from replay_identity.config import backends
from replay_identity.emulator import Fault, PortInUseError

COMMANDS = (
    "identify",
    "check",
    "sync",
    "status",
    "rejected",
    "retry",
    "deliver",
    "forget",
    "limits",
    "doctor",
    "emulate",
    "demo",
)


# check


def test_check_needs_no_key_and_sends_nothing(run: RunCommand, write: WriteRows) -> None:
    """The outcomes are the same as with keys."""
    file = write([{"id": "u1", "a-b": 1}, {"id": "u2", "plan": "pro"}, b"7\n"])

    result = run("check", file)

    assert result.code == 1
    assert "fullstory 1 0 0 1 0 0" in result.lines
    assert "logrocket 2 1 0 0 0 0" in result.lines
    assert "traits.a-b property-name 1" in result.lines


def test_check_with_adapt_shows_losses(run: RunCommand, write: WriteRows) -> None:
    """A broken limit becomes an adjustment, and no value is printed."""
    file = write([{"id": "u1", "a-b": "canary-7Q"}])

    result = run("check", file, "--adapt", "--json", "--to", "fullstory")

    assert result.code == 0
    assert result.document["backends"] == {
        "fullstory": {
            "outcomes": {"Accepted": 1},
            "adjusted": 1,
            "lossy": 1,
            "adjustments": [{"path": "traits.a-b", "kind": "renamed", "rule": "property-name", "count": 1}],
            "violations": [],
            "causes": [],
        }
    }
    assert "canary-7Q" not in result.out


def test_check_names_the_setting_that_allows_ids(run: RunCommand, write: WriteRows) -> None:
    """Only for rules that have one."""
    result = run("check", write([{"id": "%user_id%"}, {"id": "u1", "a-b": 1}]), "--to", "fullstory")
    other = run("check", write([{"id": "u1", "a-b": 1}]), "--to", "fullstory")

    hint = 'if such ids are real, set allow_ids = ["placeholder-id"] in its table of the settings file'
    assert f"fullstory: {hint}" in result.lines
    assert "allow_ids" not in other.output


def test_check_stops_at_ctrl_c(run: RunCommand, monkeypatch: pytest.MonkeyPatch, write: WriteRows) -> None:
    """The exit code is the one for an interruption."""

    def stop(*_: object) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("replay_identity.cli.check.check_user", stop)

    result = run("check", write([{"id": "u1"}]))

    assert (result.code, result.message) == (130, "Stopped: interrupted; the last user may have been sent")


# limits


def test_limits_have_sources_dates_and_notes(run: RunCommand) -> None:
    """Only sources, which must not be wrapped, are wider than 80 columns."""
    result = run("limits")

    assert result.code == 0
    assert "email 128 characters email-length 1" in result.lines
    assert "trait_value 1,024 UTF-16 units trait-value-length 1, 2" in result.lines
    assert "1 https://docs.logrocket.com/docs/user-identification-api (read 2026-11-21)" in result.lines
    assert "Each part of a dotted trait name must match [A-Za-z][A-Za-z0-9_]*" in result.lines


def test_limits_of_one_backend_as_json(run: RunCommand) -> None:
    """Every limit has all its fields."""
    result = run("limits", "logrocket", "--json")

    document = result.document
    limit = dict(LogRocket("org:app:key").limits)["trait_name_advised"]
    assert list(document) == ["logrocket"]
    assert document["logrocket"]["trait_name_pattern"] is None
    assert document["logrocket"]["limits"]["trait_name_advised"] == {
        "maximum": 128,
        "unit": "UTF-8 bytes",
        "source": "npm @logrocket/react-native 3.4.0, dist/build.js",
        "read_on": "2026-11-21",
        "rule": "trait-name-advised",
        "note": limit.note,
    }


def test_batch_limits_have_a_table(run: RunCommand) -> None:
    """Footnotes are numbered across both tables."""
    result = run("limits", "fullstory")

    assert result.code == 0
    assert "fullstory batches" in result.lines
    assert "users 50,000 users batch-users 7, 8" in result.lines
    assert "open_users 500,000 users open-users 7, 11" in result.lines
    assert "batches" not in run("limits", "logrocket").out


def test_batch_limits_are_in_the_json(run: RunCommand) -> None:
    """Vendors without batches have none."""
    document = run("limits", "--json").document

    assert list(document["fullstory"]["batch_limits"]) == [
        "users",
        "running_jobs",
        "open_jobs",
        "open_users",
        "key_lifetime",
    ]
    assert document["fullstory"]["batch_limits"]["running_jobs"] == {
        "maximum": 100,
        "unit": "jobs",
        "source": "https://developer.fullstory.com/server/users/create-batch-user-import-job",
        "read_on": "2026-11-21",
        "rule": "running-jobs",
        "note": Fullstory("key").batch_limits.running_jobs.note,
    }
    assert "batch_limits" not in document["logrocket"]


class MultiUserLogRocket(LogRocket):
    """LogRocket with several users in one request."""

    max_users = Limit(maximum=100, unit=Unit.USERS, source="a test", read_on=date(2026, 11, 21), rule="request-users")

    def identify_many(self) -> None:
        """Do nothing."""


@pytest.fixture
def _multi_user_logrocket(monkeypatch: pytest.MonkeyPatch) -> None:
    classes: dict[str, type[object]] = {"fullstory": Fullstory, "logrocket": MultiUserLogRocket}
    monkeypatch.setattr(backends, "load_backend_class", classes.__getitem__)


@pytest.mark.usefixtures("_multi_user_logrocket")
def test_request_limits_have_a_table(run: RunCommand) -> None:
    """Vendors with one user per request have none."""
    result = run("limits", "logrocket")

    assert "logrocket requests" in result.lines
    (number,) = [line.split()[-1] for line in result.lines if line.startswith("max_users 100 users request-users ")]
    assert f"{number} a test (read 2026-11-21)" in result.lines
    assert "requests" not in run("limits", "fullstory").out.replace("idempotent-requests", "")


@pytest.mark.usefixtures("_multi_user_logrocket")
def test_request_limits_are_in_the_json(run: RunCommand) -> None:
    """Vendors with one user per request have none."""
    document = run("limits", "--json").document

    assert document["logrocket"]["max_users"] == {
        "maximum": 100,
        "unit": "users",
        "source": "a test",
        "read_on": "2026-11-21",
        "rule": "request-users",
        "note": "",
    }
    assert "max_users" not in document["fullstory"]


def test_limits_of_an_unknown_backend_is_wrong_usage(run: RunCommand) -> None:
    """The error lists the configured backends."""
    result = run("limits", "acme")

    assert result.code == 2
    assert "fullstory, logrocket" in result.message


# doctor


def test_doctor_asks_vendors_that_check_keys(run: RunCommand, vendors: Vendors) -> None:
    """LogRocket has no way to check keys, which is not an error."""
    del vendors
    result = run("doctor", "--json")

    assert result.code == 0
    assert result.document == {
        "backends": [
            {
                "backend": "fullstory",
                "vendor": "fullstory",
                "key": "FULLSTORY_API_KEY",
                "health": "good",
                "detail": "the vendor accepts the key; it may write users, send batches, read which users a batch "
                "rejected, list users, compare users, delete users, export users",
                "region": "na1",
                "level": "ADMIN",
                "organisation": "EMULATOR",
                "operations": {operation.value: True for operation in Operation},
            },
            {
                "backend": "logrocket",
                "vendor": "logrocket",
                "key": "LOGROCKET_API_KEY",
                "health": "unchecked",
                "detail": "org from the key, app from the key; the vendor has no way to check a key",
                "region": None,
                "level": None,
                "organisation": None,
                "operations": None,
            },
        ]
    }


@pytest.mark.parametrize(
    ("role", "may", "cannot"),
    [
        ("USER", "write users, send batches", "read which users a batch rejected, list users"),
        ("VIEW_ONLY", "do nothing", "write users, send batches"),
        ("ARCHITECT", "write users, send batches, read which users a batch rejected", None),
        ("UMBRELLA_MANAGER", None, None),
    ],
)
def test_doctor_says_what_a_key_may_do(
    run: RunCommand, vendors: Vendors, role: str, may: str | None, cannot: str | None
) -> None:
    """A Standard key writes a batch but cannot read its results, which nobody would guess."""
    vendors.fullstory.faults.add(Fault(path="/me", body=orjson.dumps({"orgId": "o1", "role": role}), times=None))

    result = run("doctor")

    assert result.code == 0
    assert (f"it may {may}" in result.out) is (may is not None)
    assert (f"but it cannot {cannot}" in result.out) is (cannot is not None)
    assert ("what a key of this level may do is unknown" in result.out) is (may is None)
    operations = run("doctor", "--json").document["backends"][0]["operations"]
    assert (operations and operations["write"]) == {"USER": True, "ARCHITECT": True, "VIEW_ONLY": False}.get(role)
    assert (operations and operations["read_results"]) == (None if may is None else role == "ARCHITECT")


def test_doctor_checks_every_backend(run: RunCommand, vendors: Vendors) -> None:
    """A backend without a key does not hide the others, and no key is printed."""
    del vendors
    Path("replay-identity.toml").write_text(
        """
        [backends.fs]
        vendor = "fullstory"
        api_key = "na1.canary-7Q"
        [backends.lr]
        vendor = "logrocket"
        api_key = "canary-7Q"
        org = "acme"
        app = "shop"
        [backends.fullstory]
        """,
        encoding="utf-8",
    )

    result = run("doctor", env={"FULLSTORY_API_KEY": ""})

    assert result.code == 78
    assert "fs replay-identity.toml: - - - wrong" in result.lines
    assert "fullstory - - - - wrong" in result.lines
    assert "FULLSTORY_API_KEY: not set" in result.out
    assert "org from the settings, app from the settings" in result.out
    assert "canary-7Q" not in result.out + result.err


def test_doctor_reports_a_vendor_that_is_down(run: RunCommand, vendors: Vendors) -> None:
    """The settings may be good, so the exit code says to try again later."""
    vendors.fullstory.faults.add(Fault(status=503, headers={"retry-after": "600"}))

    result = run("doctor")

    assert result.code == 75
    assert "600 s" in result.out


# emulate


@pytest.mark.slow
def test_emulate_prints_its_settings() -> None:
    """A shell can source them; a signal ends the command with exit code 0."""
    with start_command("emulate", "--fullstory-port", "0", "--logrocket-port", "0") as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(4)]
        process.terminate()

    assert process.returncode == 0
    assert [line.partition("=")[0] for line in lines] == [
        "export FULLSTORY_BASE_URL",
        "export FULLSTORY_API_KEY",
        "export LOGROCKET_BASE_URL",
        "export LOGROCKET_API_KEY",
    ]
    assert lines[0].startswith("export FULLSTORY_BASE_URL=http://127.0.0.1:")


@pytest.mark.parametrize("option", [[], ["--json"]])
def test_emulate_uses_its_options(run: RunCommand, monkeypatch: pytest.MonkeyPatch, option: list[str]) -> None:
    """The emulators get the ports and the rate limit."""
    served: list[Any] = []

    def serve(apps: Any, *, on_ready: Callable[[Sequence[str]], None]) -> None:
        served.extend(apps)
        on_ready(["http://127.0.0.1:1", "http://127.0.0.1:2"])

    monkeypatch.setattr(emulate, "serve", serve)

    result = run("emulate", "--logrocket-port", "7", "--rate-limit", "9", *option)

    assert result.code == 0
    assert [port for _, port in served] == [8801, 7]
    assert [app.rate_limit.requests for app, _ in served] == [9, 9]
    assert "http://127.0.0.1:2" in result.out
    assert not option or result.document["FULLSTORY_API_KEY"] == "na1.emulator"


def test_emulate_reports_a_port_in_use(run: RunCommand, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is wrong usage, because another port may be free."""

    def serve(_apps: object, *, on_ready: object) -> None:
        del on_ready
        raise PortInUseError(8801)

    monkeypatch.setattr(emulate, "serve", serve)

    result = run("emulate")

    assert result.code == 2
    assert "port 8801 is in use" in result.err


# demo


@pytest.mark.slow
def test_demo_needs_no_settings(run: RunCommand) -> None:
    """It fits into 80 columns, and rejected users are not an error."""
    result = run("demo")

    assert result.code == 0
    assert max(map(len, result.out.splitlines())) <= 80
    for rule in ("property-value-size", "uid-length", "property-name", "list-of-scalars", "anonymous-user"):
        assert rule in result.out
    assert any(line.startswith("61 ") for line in result.lines)
    assert "With --adapt" in result.err


@pytest.mark.slow
def test_demo_with_adapt_rejects_fewer_users(run: RunCommand) -> None:
    """The numbers of stored users come from the emulators."""
    rejecting = run("demo", "--json").document
    adapting = run("demo", "--adapt", "--json").document

    assert (rejecting["on_violation"], adapting["on_violation"]) == ("reject", "adapt")
    for vendor in ("fullstory", "logrocket"):
        assert adapting["stored"][vendor] > rejecting["stored"][vendor]
    assert adapting["backends"]["fullstory"]["lossy"] > rejecting["backends"]["fullstory"]["lossy"] == 0
    assert "name-collision" in {violation["rule"] for violation in adapting["backends"]["fullstory"]["violations"]}


@pytest.mark.slow
def test_demo_mentions_the_other_policy(run: RunCommand) -> None:
    """With --adapt, it mentions the behaviour without it."""
    assert "Without --adapt" in run("demo", "--adapt").err


def test_the_sample_matches_its_script() -> None:
    """The sample is changed by changing the script."""
    assert emulate.SAMPLE_FILE.read_text(encoding="utf-8").splitlines() == sample_users.lines()


# All of them


def test_the_help_lists_commands_without_cutting(run: RunCommand) -> None:
    """Click cuts off short help texts that are too long for one line."""
    listing = run("--help").out.partition("Commands:")[2]

    assert "..." not in listing
    assert all(f"  {command} " in listing for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_has_exit_codes_and_json(run: RunCommand, command: str) -> None:
    """Every exit code is explained in every command's help."""
    result = run(command, "--help")

    assert result.code == 0
    assert "--json" in result.out
    for code in ExitCode:
        assert f" {int(code)} " in " ".join(result.out.split())


def test_version_is_that_of_the_distribution(run: RunCommand) -> None:
    """The option prints the installed version, and needs no command."""
    result = run("--version")

    assert result.code == 0
    assert result.out == f"replay-identity {version('replay-identity')}\n"


def test_without_settings_the_error_says_what_to_set(run: RunCommand) -> None:
    """A new user sees this error first."""
    result = run("doctor")

    assert result.code == 78
    assert "set FULLSTORY_API_KEY or LOGROCKET_API_KEY" in result.message


def test_ctrl_c_exits_with_130(run: RunCommand, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no traceback."""

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("replay_identity.cli.doctor.load_backend_settings", stop)

    assert run("doctor").code == 130


def test_a_broken_pipe_prints_nothing(run: RunCommand, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader closed the pipe on purpose."""

    def fail(*_: object, **__: object) -> None:
        raise BrokenPipeError

    discarded: list[bool] = []
    monkeypatch.setattr("replay_identity.cli.doctor.load_backend_settings", fail)
    monkeypatch.setattr(app, "_discard_stdout", lambda: discarded.append(True))

    result = run("doctor")

    assert (result.code, result.out, result.err, discarded) == (141, "", "", [True])


def test_the_console_lets_a_broken_pipe_through(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rich would exit with 1, which means that users were rejected."""

    class ClosedPipe(io.StringIO):
        def write(self, _text: str, /) -> int:
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stdout", ClosedPipe())

    with pytest.raises(BrokenPipeError):
        stdout_console().print("text")


def test_a_missing_extra_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The library works without Typer and Rich."""
    monkeypatch.setitem(sys.modules, "typer", None)
    monkeypatch.delitem(sys.modules, "replay_identity.cli.app")

    assert cli.main() == 2
    assert "pip install 'replay-identity[cli]'" in capsys.readouterr().err


def test_another_missing_module_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a broken installation, not a missing extra."""
    monkeypatch.setitem(sys.modules, "replay_identity.cli.app", None)

    with pytest.raises(ModuleNotFoundError):
        cli.main()


def test_a_bug_is_reported_without_its_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message and the traceback may quote a value."""

    def fail(**_: object) -> None:
        raise KeyError("canary-7Q")

    monkeypatch.setattr(app, "app", fail)

    assert cli.main() == 70
    err = capsys.readouterr().err
    assert "KeyError at test_cli_commands.py:" in err
    assert "canary-7Q" not in err


def test_httpx_does_not_log_urls(monkeypatch: pytest.MonkeyPatch) -> None:
    """LogRocket's URLs contain user ids."""
    monkeypatch.setattr(logging.getLogger("httpx"), "level", logging.INFO)
    monkeypatch.setattr(sys, "argv", ["replay-identity", "limits", "--json"])

    with pytest.raises(SystemExit) as exited:
        cli.main()

    assert exited.value.code == 0
    assert logging.getLogger("httpx").level == logging.WARNING


BAD_FILES: dict[str, bytes] = {
    "id-dots": b'{"id": "..", "plan": "canary-7Q"}\n',
    "id-slashes": b'{"id": "canary-7Q/../x", "plan": "canary-7Q"}\n',
    "id-257": orjson.dumps({"id": "canary-7Q" + "x" * 248, "plan": "canary-7Q"}),
    "id-1025": orjson.dumps({"id": "canary-7Q" + "x" * 1016, "plan": "canary-7Q"}),
    "id-int": b'{"id": 7, "plan": "canary-7Q"}',
    "id-bool": b'{"id": true, "plan": "canary-7Q"}',
    "nan": b'{"id": "canary-7Q", "plan": NaN}',
    "surrogate": b'{"id": "canary-7Q", "plan": "canary-7Q\\ud800"}',
    "ten-megabytes": orjson.dumps({"id": "canary-7Q", "plan": "canary-7Q" * 1_200_000}),
    "not-utf-8": b'{"id": "canary-7Q\xff"}',
    "truncated": b'{"id": "canary-7Q", "plan": "canary-7Q',
    "array": b'["canary-7Q"]',
    "text": b'"canary-7Q"',
    "nonsense": b"canary-7Q",
    "twice": b'{"id": "canary-7Q", "plan": "canary-7Q", "plan": "canary-7Q"}',
    "utf-16": '{"id": "canary-7Q"}'.encode("utf-16"),
    "deep": b'{"id": "canary-7Q", "a": ' * 50 + b"1" + b"}" * 50,
}
BAD_CSV: dict[str, bytes] = {
    "columns-twice": b"id,plan,plan\ncanary-7Q,canary-7Q,canary-7Q\n",
    "cells": b"id,plan\ncanary-7Q,canary-7Q,canary-7Q\n",
    "quote": b'id,plan\ncanary-7Q,"canary-7Q\n',
    "after-quote": b'id,plan\ncanary-7Q,"a"canary-7Q\n',
    "not-utf-8": b"id,plan\ncanary-7Q,canary-7Q\xff\n",
    "ten-megabytes": b"id,plan\ncanary-7Q," + b"canary-7Q" * 1_200_000,
}


@pytest.mark.slow
@pytest.mark.parametrize("command", ["identify", "check", "sync"])
@pytest.mark.parametrize("option", ["--json", "--adapt"])
@pytest.mark.parametrize(
    ("file_format", "content"),
    [
        *(pytest.param("jsonl", content, id=name) for name, content in BAD_FILES.items()),
        *(pytest.param("csv", content, id=f"csv-{name}") for name, content in BAD_CSV.items()),
    ],
)
def test_bad_files_are_not_quoted(
    run: RunCommand,
    vendors: Vendors,
    caplog: pytest.LogCaptureFixture,
    command: str,
    option: str,
    file_format: str,
    content: bytes,
) -> None:
    """No output or log contains a value, and the rows after a bad one are processed."""
    good = b"\nok,fine\n" if file_format == "csv" else b'\n{"id": "ok", "plan": "fine"}\n'
    if content.startswith(codecs.BOM_UTF16):
        good = good.decode().encode("utf-16")[len(codecs.BOM_UTF16) :]
    caplog.set_level(logging.INFO)
    logging.getLogger("httpx").setLevel(logging.WARNING)

    result = run(command, "-", "--format", file_format, option, stdin=content + good)

    assert result.code in {0, 1, 2}
    assert "canary-7Q" not in result.out + result.err + caplog.text
    unreadable = result.code == 2 or b'"canary-7Q\n' in content
    assert unreadable or command == "check" or vendors.fullstory.by_uid("ok") is not None


@pytest.mark.parametrize("command", ["identify", "check", "limits", "doctor", "sync", "deliver"])
@pytest.mark.parametrize(
    "environment",
    [
        {"FULLSTORY_API_KEY": "canary-7Q\n"},
        {"FULLSTORY_API_KEY": "canary-7Q é"},
        {"LOGROCKET_API_KEY": "canary-7Q"},
        {"FULLSTORY_API_KEY": "k", "FULLSTORY_BASE_URL": "http://canary-7Q.example"},
        {"FULLSTORY_API_KEY": "k", "FULLSTORY_BASE_URL": "canary-7Q"},
    ],
)
def test_invalid_settings_are_not_quoted(
    run: RunCommand, write: WriteRows, command: str, environment: dict[str, str]
) -> None:
    """The error contains the variable instead."""
    file = [write([{"id": "u1"}])] if command in {"identify", "check", "sync"} else []

    result = run(command, *file, env=environment)

    assert result.code == 78
    assert any(name in result.out + result.err for name in (*environment, "org: is not known"))
    assert "canary-7Q" not in result.out + result.err
