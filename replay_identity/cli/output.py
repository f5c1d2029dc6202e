"""Where words go: data to stdout, talk to stderr."""

from collections.abc import Mapping
from typing import Any

import attrs
import orjson
from rich.console import Console

from ..outcome import Outcome, explain


class _Console(Console):
    """A console that leaves a broken pipe to whoever runs the command."""

    def on_broken_pipe(self) -> None:
        """Let the error through; Rich would exit with 1, which says that users were refused."""
        raise  # noqa: PLE0704  # Rich calls this while it handles a BrokenPipeError.


def data() -> Console:
    """Return the console for what was asked for; names of traits are never taken for markup."""
    return _Console(markup=False, emoji=False, highlight=False)


def talk() -> Console:
    """Return the console for everything else."""
    return _Console(stderr=True, markup=False, emoji=False, highlight=False)


def print_json(document: Mapping[str, Any]) -> None:
    """Print *document* as one line of JSON."""
    console = data()
    console.file.write(f"{orjson.dumps(document, option=orjson.OPT_NON_STR_KEYS).decode()}\n")
    console.file.flush()


def outcome_as_dict(outcome: Outcome) -> dict[str, Any]:
    """Return *outcome* as JSON has it, without the vendor's id of the user."""
    fields = attrs.asdict(outcome, filter=lambda field, _: field.name not in {"backend", "vendor_id"})
    return {
        "backend": outcome.backend,
        "outcome": type(outcome).__name__,
        "explanation": explain(outcome),
        "retryable": outcome.retryable,
        **fields,
    }
