"""The other commands, and what all of them have in common."""

import io
import logging
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import orjson
import pytest
from cli import sample_users
from cli.running_commands import Run, Vendors, Write

from replay_identity import Fullstory, LogRocket, cli
from replay_identity.adapters.limits import Limit, Unit
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


def words(text: str) -> list[str]:
    """Return the lines of *text* with single spaces."""
    return [" ".join(line.split()) for line in text.splitlines()]


# check


def test_check_needs_no_key_and_sends_nothing(run: Run, write: Write) -> None:
    """It tells of each vendor what it would do."""
    file = write([{"id": "u1", "a-b": 1}, {"id": "u2", "plan": "pro"}, b"7\n"])

    ran = run("check", file)

    assert ran.code == 1
    assert "fullstory 1 0 0 1 0 0" in ran.lines
    assert "logrocket 2 1 0 0 0 0" in ran.lines
    assert "traits.a-b property-name 1" in ran.lines


def test_check_with_adapt_shows_the_losses_instead(run: Run, write: Write) -> None:
    """As JSON too, which is one document."""
    file = write([{"id": "u1", "a-b": "canary-7Q"}])

    ran = run("check", file, "--adapt", "--json", "--to", "fullstory")

    assert ran.code == 0
    assert ran.document["backends"] == {
        "fullstory": {
            "outcomes": {"Accepted": 1},
            "adjusted": 1,
            "lossy": 1,
            "adjustments": [{"path": "traits.a-b", "kind": "renamed", "rule": "property-name", "count": 1}],
            "violations": [],
            "causes": [],
        }
    }
    assert "canary-7Q" not in ran.out


def test_check_of_a_file_that_breaks_off_says_so(run: Run, monkeypatch: pytest.MonkeyPatch, write: Write) -> None:
    """What was read is counted."""

    def stop(*_: object) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("replay_identity.cli.check.check_user", stop)

    ran = run("check", write([{"id": "u1"}]))

    assert (ran.code, words(ran.err)) == (130, ["Stopped: interrupted; the user under way may have been sent"])


# limits


def test_limits_are_told_with_source_date_and_note(run: Run) -> None:
    """They fit into 80 columns, but for what must not be broken."""
    ran = run("limits")

    assert ran.code == 0
    assert "email 128 characters email-length 1" in ran.lines
    assert "trait_value 1,024 UTF-16 units trait-value-length 1, 2" in ran.lines
    assert "1 https://docs.logrocket.com/docs/user-identification-api (read 2026-11-21)" in ran.lines
    assert "Each part of a trait's dotted name matches [A-Za-z][A-Za-z0-9_]*" in ran.lines


def test_limits_of_one_vendor_as_json(run: Run) -> None:
    """Every limit has all that we know of it."""
    ran = run("limits", "logrocket", "--json")

    document = ran.document
    assert list(document) == ["logrocket"]
    assert document["logrocket"]["trait_name_pattern"] is None
    assert document["logrocket"]["limits"]["trait_name_advised"] == {
        "maximum": 128,
        "unit": "UTF-8 bytes",
        "source": "npm @logrocket/react-native 3.4.0, dist/build.js",
        "read_on": "2026-11-21",
        "rule": "trait-name-advised",
        "note": "The SDK drops longer names; what the server does is not documented, so we warn.",
    }


def test_limits_on_batches_are_told_where_a_vendor_takes_them(run: Run) -> None:
    """In a table of their own, with remarks numbered on."""
    ran = run("limits", "fullstory")

    assert ran.code == 0
    assert "fullstory batches" in ran.lines
    assert "users 50,000 users batch-users 7, 8" in ran.lines
    assert "open_users 500,000 users open-users 7, 11" in ran.lines
    assert "batches" not in run("limits", "logrocket").out


def test_limits_on_batches_are_in_the_json(run: Run) -> None:
    """Only of those vendors that take any."""
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
        "note": "Of the organisation. Further jobs are taken and wait for one to complete.",
    }
    assert "batch_limits" not in document["logrocket"]


class Many(LogRocket):
    """LogRocket as if it took several users in one request."""

    max_users = Limit(maximum=100, unit=Unit.USERS, source="a test", read_on=date(2026, 11, 21), rule="request-users")

    def identify_many(self) -> None:
        """Be there; nobody is sent."""


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let LogRocket take several users in one request."""
    classes = {"fullstory": Fullstory, "logrocket": Many}
    monkeypatch.setattr(backends, "load_backend_class", classes.__getitem__)


@pytest.mark.usefixtures("many")
def test_the_limit_on_a_request_is_told_where_a_vendor_takes_several_users_in_one(run: Run) -> None:
    """In a table of its own."""
    ran = run("limits", "logrocket")

    assert "logrocket requests" in ran.lines
    (number,) = [line.split()[-1] for line in ran.lines if line.startswith("max_users 100 users request-users ")]
    assert f"{number} a test (read 2026-11-21)" in ran.lines
    assert "requests" not in run("limits", "fullstory").out.replace("idempotent-requests", "")


@pytest.mark.usefixtures("many")
def test_the_limit_on_a_request_is_in_the_json(run: Run) -> None:
    """Only of those vendors that take several users in one."""
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


def test_limits_of_an_unknown_vendor_is_wrong_usage(run: Run) -> None:
    """The known ones are named."""
    ran = run("limits", "acme")

    assert ran.code == 2
    assert "there are fullstory, logrocket" in ran.err


# doctor


def test_doctor_asks_the_vendor_where_it_can(run: Run, vendors: Vendors) -> None:
    """LogRocket has no way to be asked, which is no fault."""
    del vendors
    ran = run("doctor", "--json")

    assert ran.code == 0
    assert ran.document == {
        "backends": [
            {
                "backend": "fullstory",
                "vendor": "fullstory",
                "key": "FULLSTORY_API_KEY",
                "health": "good",
                "detail": "the vendor knows the key",
                "region": "na1",
                "level": "ADMIN",
                "organisation": "EMULATOR",
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
            },
        ]
    }


def test_doctor_tells_each_backend_apart(run: Run, vendors: Vendors) -> None:
    """One without a key does not keep the others from being looked at, and no key is shown."""
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

    ran = run("doctor", env={"FULLSTORY_API_KEY": ""})

    assert ran.code == 78
    assert "fs replay-identity.toml: - - - wrong" in ran.lines
    assert "fullstory - - - - wrong" in ran.lines
    assert "FULLSTORY_API_KEY: is not set" in ran.out
    assert "org from the settings, app from the settings" in ran.out
    assert "canary-7Q" not in ran.out + ran.err


def test_doctor_tells_a_vendor_that_is_down(run: Run, vendors: Vendors) -> None:
    """The settings may be good, so the exit code asks to come back."""
    vendors.fullstory.faults.add(Fault(status=503, headers={"retry-after": "600"}))

    ran = run("doctor")

    assert ran.code == 75
    assert "try again after 600 s" in ran.out


# emulate


@pytest.mark.slow
def test_emulate_prints_the_settings_that_point_at_it() -> None:
    """They can be sourced by a shell, and it ends at a signal with 0."""
    command = [sys.executable, "-c", "import sys; from replay_identity.cli import main; sys.exit(main())", "emulate"]
    options = ["--fullstory-port", "0", "--logrocket-port", "0"]
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline().decode() for _ in range(4)]
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
def test_emulate_hands_its_options_on(run: Run, monkeypatch: pytest.MonkeyPatch, option: list[str]) -> None:
    """The ports and the rate limit are what was asked for."""
    served: list[Any] = []

    def serve(apps: Any, *, on_ready: Callable[[Sequence[str]], None]) -> None:
        served.extend(apps)
        on_ready(["http://127.0.0.1:1", "http://127.0.0.1:2"])

    monkeypatch.setattr(emulate, "serve", serve)

    ran = run("emulate", "--logrocket-port", "7", "--rate-limit", "9", *option)

    assert ran.code == 0
    assert [port for _, port in served] == [8801, 7]
    assert [app.rate_limit.requests for app, _ in served] == [9, 9]
    assert "http://127.0.0.1:2" in ran.out
    assert not option or ran.document["FULLSTORY_API_KEY"] == "na1.emulator"


def test_emulate_tells_a_port_in_use(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another one may be free."""

    def serve(_apps: object, *, on_ready: object) -> None:
        del on_ready
        raise PortInUseError(8801)

    monkeypatch.setattr(emulate, "serve", serve)

    ran = run("emulate")

    assert ran.code == 2
    assert "port 8801 is in use" in ran.err


# demo


@pytest.mark.slow
def test_demo_shows_what_each_vendor_made_of_a_messy_file(run: Run) -> None:
    """It needs nothing, fits into 80 columns, and is no failure."""
    ran = run("demo")

    assert ran.code == 0
    assert max(map(len, ran.out.splitlines())) <= 80
    for rule in ("property-value-size", "uid-length", "property-name", "list-of-scalars", "anonymous-user"):
        assert rule in ran.out
    assert "61 is cut off; write one JSON object per line" in ran.lines
    assert "With --adapt" in ran.err


@pytest.mark.slow
def test_demo_with_adapt_loses_less_and_says_what(run: Run) -> None:
    """What the emulators hold is read back from them."""
    rejecting = run("demo", "--json").document
    adapting = run("demo", "--adapt", "--json").document

    assert (rejecting["on_violation"], adapting["on_violation"]) == ("reject", "adapt")
    for vendor in ("fullstory", "logrocket"):
        assert adapting["held"][vendor] > rejecting["held"][vendor]
    assert adapting["backends"]["fullstory"]["lossy"] > rejecting["backends"]["fullstory"]["lossy"] == 0
    assert "name-collision" in {violation["rule"] for violation in adapting["backends"]["fullstory"]["violations"]}


@pytest.mark.slow
def test_demo_says_how_to_see_the_other_policy(run: Run) -> None:
    """In both directions."""
    assert "Without --adapt" in run("demo", "--adapt").err


def test_the_sample_is_what_its_script_writes() -> None:
    """So that it can be changed by changing the script."""
    assert emulate.SAMPLE.read_text(encoding="utf-8").splitlines() == sample_users.lines()


# All of them


def test_the_commands_are_listed_with_whole_sentences(run: Run) -> None:
    """Click cuts off what is too long for one line."""
    told = run("--help").out.partition("Commands:")[2]

    assert "..." not in told
    assert "sync      Bring every vendor to the state of a file.\n" in told


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_each_command_has_the_exit_codes_and_json(run: Run, command: str) -> None:
    """They are documented in one place, and shown in every one."""
    ran = run(command, "--help")

    assert ran.code == 0
    assert "--json" in ran.out
    for code in ExitCode:
        assert f" {int(code)} " in " ".join(ran.out.split())


def test_version_is_that_of_the_distribution(run: Run) -> None:
    """The option prints the installed version, and needs no command."""
    ran = run("--version")

    assert ran.code == 0
    assert ran.out == f"replay-identity {version('replay-identity')}\n"


def test_no_settings_at_all_says_what_to_set(run: Run) -> None:
    """It is what a newcomer meets."""
    ran = run("doctor")

    assert ran.code == 78
    assert words(ran.err)[0].startswith("backends: none is configured; set FULLSTORY_API_KEY or LOGROCKET_API_KEY")


def test_ctrl_c_anywhere_exits_as_shells_expect(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a traceback."""

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("replay_identity.cli.doctor.load_backend_settings", stop)

    assert run("doctor").code == 130


def test_a_broken_pipe_anywhere_is_quiet(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever left knows it."""

    def leave(*_: object, **__: object) -> None:
        raise BrokenPipeError

    left: list[bool] = []
    monkeypatch.setattr("replay_identity.cli.doctor.load_backend_settings", leave)
    monkeypatch.setattr(app, "_leave_stdout", lambda: left.append(True))

    ran = run("doctor")

    assert (ran.code, ran.out, ran.err, left) == (141, "", "", [True])


def test_a_table_for_nobody_is_a_broken_pipe_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rich would exit with the code that says that users were refused."""

    class Left(io.StringIO):
        def write(self, _text: str, /) -> int:
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stdout", Left())

    with pytest.raises(BrokenPipeError):
        stdout_console().print("text")


def test_without_the_extra_the_command_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The library itself needs neither Typer nor Rich."""
    monkeypatch.setitem(sys.modules, "typer", None)
    monkeypatch.delitem(sys.modules, "replay_identity.cli.app")

    assert cli.main() == 2
    assert capsys.readouterr().err == "The command needs more packages: pip install 'replay-identity[cli]'\n"


def test_another_module_that_is_missing_is_no_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a broken installation, and must be seen."""
    monkeypatch.setitem(sys.modules, "replay_identity.cli.app", None)

    with pytest.raises(ModuleNotFoundError):
        cli.main()


def test_a_bug_of_ours_is_told_without_its_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A traceback might quote a value."""

    def fail(**_: object) -> None:
        raise KeyError("canary-7Q")

    monkeypatch.setattr(app, "app", fail)

    assert cli.main() == 70
    told = capsys.readouterr().err
    assert told.startswith("replay-identity has a bug, please report it: KeyError at test_cli_commands.py:")
    assert "canary-7Q" not in told


def test_the_command_keeps_httpx_from_logging_urls(monkeypatch: pytest.MonkeyPatch) -> None:
    """LogRocket's hold user ids."""
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
def test_no_bad_file_is_quoted(
    run: Run,
    vendors: Vendors,
    caplog: pytest.LogCaptureFixture,
    command: str,
    option: str,
    file_format: str,
    content: bytes,
) -> None:
    """Neither on stdout nor on stderr nor in a log, and nothing but the bad row is lost."""
    good = b"\nok,fine\n" if file_format == "csv" else b'\n{"id": "ok", "plan": "fine"}\n'
    caplog.set_level(logging.INFO)
    logging.getLogger("httpx").setLevel(logging.WARNING)

    ran = run(command, "-", "--format", file_format, option, stdin=content + good)

    assert ran.code in {0, 1, 2}
    assert "canary-7Q" not in ran.out + ran.err + caplog.text
    unreadable = ran.code == 2 or b'"canary-7Q\n' in content
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
def test_no_wrong_setting_is_quoted(run: Run, write: Write, command: str, environment: dict[str, str]) -> None:
    """It is named instead, by its variable or by what is missing."""
    file = [write([{"id": "u1"}])] if command in {"identify", "check", "sync"} else []

    ran = run(command, *file, env=environment)

    assert ran.code == 78
    assert any(name in ran.out + ran.err for name in (*environment, "org: is not known"))
    assert "canary-7Q" not in ran.out + ran.err
