"""Regenerate the tables of the documentation, or check with ``--check`` that they are up to date.

A page has a table between ``<!-- generated: NAME -->`` and ``<!-- end of NAME -->``; everything between the two markers
is replaced.
"""

# ruff: noqa: INP001  # A script, not a package.

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from _api import api_page
from _features import Column, columns, feature_rows, limit_rows
from typer.main import get_command

from replay_identity import REMOVE, Accepted, Fullstory, LogRocket, Outcome, Rejected, UserTraits
from replay_identity.adapters import Limit, NoResponse, Response
from replay_identity.cli.app import app

DOCS: Final = Path(__file__).parent
ROOT: Final = DOCS.parent

FULLSTORY: Final = Fullstory("na1.documentation")
LOGROCKET: Final = LogRocket("org:app:documentation")
USER: Final = UserTraits("u1", traits={"plan": "pro"})


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines)


def limits_table(limits: Iterable[tuple[str, Limit]]) -> str:
    """Return the table of a vendor's limits with their sources."""
    rows = [
        (
            f"`{field}`",
            f"{limit.maximum:,}",
            limit.unit,
            f"`{limit.rule}`",
            f"<{limit.source}>" if limit.source.startswith("https://") else limit.source,
            limit.read_on.isoformat(),
            limit.note,
        )
        for field, limit in limits
    ]
    return table(("field", "maximum", "unit", "rule", "source", "read on", "note"), rows)


# Trait values by their Python source.
VALUES: Final[Mapping[str, Any]] = {
    '"pro"': "pro",
    '""': "",
    "True": True,
    "43": 43,
    "2**63": 2**63,
    "9.99": 9.99,
    "1.0": 1.0,
    "1e21": 1e21,
    'Decimal("19.90")': Decimal("19.90"),
    'Decimal("0.1234567890123456789")': Decimal("0.1234567890123456789"),
    "datetime(2026, 11, 21, 8, 30, tzinfo=UTC)": datetime(2026, 11, 21, 8, 30, tzinfo=UTC),
    "date(2026, 11, 21)": date(2026, 11, 21),
    "UUID(int=5)": UUID(int=5),
    '["a", "b"]': ["a", "b"],
    "[1, 2]": [1, 2],
    "[1, 2.5]": [1, 2.5],
    '["a", 1]': ["a", 1],
    "[]": [],
    '[{"a": 1}]': [{"a": 1}],
    '{"id": 7}': {"id": 7},
    "REMOVE": REMOVE,
}


def coercions_table() -> str:
    """Return the table of what each vendor receives for a trait ``t`` of each value."""
    rows = [(f"`{source}`", _fullstory_cell(value), _logrocket_cell(value)) for source, value in VALUES.items()]
    return table(("value of `t`", "Fullstory receives", "LogRocket receives"), rows)


def _fullstory_cell(value: Any) -> str:  # noqa: ANN401  # A trait value.
    plan = FULLSTORY.plan(UserTraits("u1", traits={"t": value}))
    if plan.request is None:
        return _rejected_cell([violation.rule for violation in plan.violations])
    body = json.loads(plan.request.body or b"{}")
    declared = body.get("schema", {}).get("properties", {})
    types = "".join(f", `{path}` declared as `{name}`" for path, name in declared.items())
    return f"`{json.dumps(body['properties']['t'])}`{types}"


def _logrocket_cell(value: Any) -> str:  # noqa: ANN401  # A trait value.
    plan = LOGROCKET.plan(UserTraits("u1", traits={"t": value}))
    if plan.request is None:
        return _rejected_cell([violation.rule for violation in plan.violations])
    traits = json.loads(plan.request.body or b"{}")["traits"]
    values = [
        f"`{json.dumps(text)}`" if name == "t" else f"`{json.dumps(text)}` as `{name}`" for name, text in traits.items()
    ]
    cell = ", ".join(values)
    return f"{cell}, which removes it" if traits.get("t") == "" else cell


def _rejected_cell(rules: Sequence[str]) -> str:
    return f"rejected: {', '.join(f'`{rule}`' for rule in rules)}"


# Statuses of the last response, after the retries of the transport.
STATUSES: Final = (302, 400, 401, 403, 404, 408, 409, 413, 422, 425, 429, 500, 501, 502, 503, 504)
ERROR: Final = b'{"code": "its_code", "error": "its message", "message": "its message"}'
# LogRocket's documented response to USER, which shows the stored values.
LOGROCKET_USER: Final = b'{"userID": "u1", "traits": {"plan": "pro"}}'


def responses_table() -> str:
    """Return the table of outcomes by response, computed with the adapters."""
    documented = _response_row(
        "200 with the documented body", Response(200, body=b'{"id": "1"}'), Response(200, body=LOGROCKET_USER)
    )
    rows = [
        documented,
        _response_row("200 or 204 without a body, 200 with any JSON object", Response(204)),
        _response_row("200 with `success: false`, or with an `error` and no user", Response(200, body=ERROR)),
        _response_row("200 with anything else: HTML, text, broken JSON", Response(200, body=b"<html>")),
        *(_response_row(str(status), Response(status, body=ERROR)) for status in STATUSES),
        *(_response_row(f"no response: {reason.value}", Response(0, no_response=reason)) for reason in NoResponse),
    ]
    return table(("response", "retried first", "Fullstory", "LogRocket"), rows)


def _response_row(name: str, response: Response, logrocket: Response | None = None) -> Sequence[str]:
    retried = "yes" if response.is_retryable else "no"
    return name, retried, _outcome_cell(FULLSTORY, response), _outcome_cell(LOGROCKET, logrocket or response)


def _outcome_cell(backend: Fullstory | LogRocket, response: Response) -> str:
    outcome = _identify(backend, response)
    name = f"`{type(outcome).__name__}`"
    match outcome:
        case Accepted(verified=True):
            return f"{name}, verified"
        case Rejected(code=code):
            return f"{name}, code `{code}`"
        case _:
            return name


def _identify(backend: Fullstory | LogRocket, response: Response) -> Outcome:
    exchange = backend.identify(USER)
    next(exchange)
    try:
        exchange.send(response)
    except StopIteration as stop:
        outcome: Outcome = stop.value
        return outcome
    raise AssertionError("identify: expected one request, got a second one")


def options_table(command: str) -> str:
    """Return the table of the arguments and options of *command*."""
    parameters: list[Any] = _commands()[command].params
    rows = [(f"`{_spelling(parameter)}`", parameter.help) for parameter in parameters]
    return table(("argument or option", "description"), rows)


def _commands() -> Mapping[str, Any]:
    group: Any = get_command(app)
    commands: Mapping[str, Any] = group.commands
    return commands


def _spelling(parameter: Any) -> str:  # noqa: ANN401  # A private class of Typer.
    """Return a parameter as users type it, with its default unless that is None or False."""
    option = parameter.opts[0]
    if not option.startswith("-"):
        name = (parameter.metavar or parameter.name.upper()).replace("|", " or ")
        return name if parameter.required else f"[{name}]"
    default = parameter.default
    return option if default in (None, False) else f"{option} {default}"


def features_table() -> str:
    """Return the table of the features of each backend."""
    return _matrix("feature", feature_rows)


def all_limits_table() -> str:
    """Return the table of the limits of every backend."""
    return _matrix("maximum of", limit_rows)


def _matrix(first_head: str, rows: Callable[[Sequence[Column]], Iterable[Sequence[str]]]) -> str:
    vendors = columns()
    return table((first_head, *(vendor.title for vendor in vendors)), rows(vendors))


TABLES: Final[Mapping[str, Callable[[], str]]] = {
    "limits of Fullstory": lambda: limits_table(FULLSTORY.limits),
    "limits on batches of Fullstory": lambda: limits_table(FULLSTORY.batch_limits),
    "limits of LogRocket": lambda: limits_table(LOGROCKET.limits),
    "coercions": coercions_table,
    "features": features_table,
    "all limits": all_limits_table,
    "responses": responses_table,
    "api": api_page,
    **{f"options of {command}": partial(options_table, command) for command in _commands()},
}


def regenerate(page: str) -> str:
    """Return *page* with up-to-date tables."""
    for name, generate in TABLES.items():
        begin, end = f"<!-- generated: {name} -->\n", f"\n<!-- end of {name} -->"
        if begin in page:
            before, _, rest = page.partition(begin)
            _, _, after = rest.partition(end)
            page = f"{before}{begin}\n{generate()}\n{end}{after}"
    return page


def main(arguments: Sequence[str]) -> int:
    """Write the pages; with ``--check`` only name those that are out of date, and return 1 if there are any."""
    pages = {path: path.read_text(encoding="utf-8") for path in sorted(DOCS.rglob("*.md"))}
    stale = {path: fresh for path, page in pages.items() if (fresh := regenerate(page)) != page}
    for path, fresh in stale.items():
        if arguments == ["--check"]:
            sys.stderr.write(f"{path.relative_to(ROOT)} is out of date; run python docs/_generate.py\n")
        else:
            path.write_text(fresh, encoding="utf-8")
    return int(bool(stale) and arguments == ["--check"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
