"""`replay-identity doctor`."""

from collections.abc import Mapping, Sequence
from typing import Final, Literal, TypeAlias

import attrs
import typer

from ..adapters.protocols import KeyInfo, Operation, SupportsVerify
from ..config import BackendSettings, load_backend_settings
from ..errors import ConfigurationError
from ..logrocket import LogRocket
from ..outcomes import Misconfigured, Rejected, explain
from ..retry import RetryPolicy
from ..transport import Transport
from . import options
from .exit_codes import ExitCode
from .tables import new_table
from .terminal import print_json, stdout_console

Health: TypeAlias = Literal["good", "unchecked", "wrong", "unavailable"]

_OPERATIONS: Final[Mapping[Operation, str]] = {
    Operation.WRITE: "write users",
    Operation.BATCH: "send batches",
    Operation.READ_RESULTS: "read which users a batch rejected",
    Operation.LIST: "list users",
    Operation.COMPARE: "compare users",
    Operation.DELETE: "delete users",
    Operation.EXPORT: "export users",
}
_STYLES: Final = {"good": "green", "unchecked": "yellow", "wrong": "red", "unavailable": "magenta"}
# Few attempts, because a person is waiting.
_RETRY: Final = RetryPolicy(attempts=2)


@attrs.frozen
class Diagnosis:
    """The state of one backend's settings.

    Attributes:
        backend: Name of the backend.
        vendor: Name of the vendor's entry point.
        key: Where the key comes from, or None if there is none.
        health: Whether the settings are good.
        detail: The reason, in a sentence.
        region: Region in which the vendor stores the data, if it has regions.
        level: Permission level of the key, as the vendor calls it.
        organisation: The vendor's id of the organisation.
        operations: Whether the key permits each operation, or None if that is not known.
    """

    backend: str
    vendor: str
    key: str | None
    health: Health
    detail: str
    region: str | None = None
    level: str | None = None
    organisation: str | None = None
    operations: Mapping[str, bool] | None = None


def doctor_command(*, settings: options.SettingsOption = None, json: options.JsonOption = False) -> None:
    """Check the settings of each backend, and its key if the vendor has a way to check keys."""
    file, sections = load_backend_settings(settings)
    with Transport(retry=_RETRY, timeout=file.timeout) as transport:
        diagnoses = [diagnose(section, transport) for section in sections]
    if json:
        print_json({"backends": [attrs.asdict(diagnosis) for diagnosis in diagnoses]})
    else:
        _print_diagnoses(diagnoses)
    raise typer.Exit(_exit_code({diagnosis.health for diagnosis in diagnoses}))


def diagnose(settings: BackendSettings, transport: Transport) -> Diagnosis:
    """Return the state of the *settings* of one backend."""
    try:
        backend = settings.build()
    except ConfigurationError as error:
        return _diagnosis(settings, "wrong", str(error))
    if not isinstance(backend, SupportsVerify):
        origin = _org_and_app_origin(settings) if isinstance(backend, LogRocket) else ""
        return _diagnosis(settings, "unchecked", f"{origin}the vendor has no way to check a key")

    result = transport.run(backend.verify())
    if isinstance(result, KeyInfo):
        return attrs.evolve(
            _diagnosis(settings, "good", _describe_permissions(result)),
            region=result.region,
            level=result.level,
            organisation=result.organisation,
            operations=_permissions(result),
        )
    health: Health = "wrong" if isinstance(result, Misconfigured | Rejected) else "unavailable"
    return _diagnosis(settings, health, explain(result))


def _diagnosis(settings: BackendSettings, health: Health, detail: str) -> Diagnosis:
    return Diagnosis(settings.name, settings.vendor, settings.key_origin, health, detail)


def _permissions(key: KeyInfo) -> Mapping[str, bool] | None:
    return None if key.operations is None else {each.value: each in key.operations for each in Operation}


def _describe_permissions(key: KeyInfo) -> str:
    """Return what the key permits and what it does not, as a sentence."""
    if key.operations is None:
        return "the vendor accepts the key; what a key of this level may do is unknown"
    allowed = [text for operation, text in _OPERATIONS.items() if operation in key.operations]
    denied = [text for operation, text in _OPERATIONS.items() if operation not in key.operations]
    if not denied:
        return f"the vendor accepts the key; it may {', '.join(allowed)}"
    return f"the vendor accepts the key; it may {', '.join(allowed) or 'do nothing'}, but it cannot {', '.join(denied)}"


def _org_and_app_origin(settings: BackendSettings) -> str:
    """Return where LogRocket's organisation and application come from; the backend exists, so both are known."""
    origins = (f"{part} from the {'settings' if settings.settings.get(part) else 'key'}" for part in ("org", "app"))
    return f"{', '.join(origins)}; "


def _print_diagnoses(diagnoses: Sequence[Diagnosis]) -> None:
    table = new_table("", "Backend", "Key from", "Region", "Level", "Organisation", "Health")
    for diagnosis in diagnoses:
        values = (diagnosis.key, diagnosis.region, diagnosis.level, diagnosis.organisation)
        cells = [value or "-" for value in values]
        table.add_row(diagnosis.backend, *cells, diagnosis.health, style=_STYLES[diagnosis.health])
    console = stdout_console()
    console.print(table)
    for diagnosis in diagnoses:
        console.print(f"{diagnosis.backend}: {diagnosis.detail}", soft_wrap=True)


def _exit_code(healths: set[Health]) -> ExitCode:
    if "wrong" in healths:
        return ExitCode.SETTINGS
    return ExitCode.PENDING if "unavailable" in healths else ExitCode.OK
