"""`replay-identity doctor`."""

from typing import Final, Literal, TypeAlias

import attrs
import typer

from ..adapters.protocols import KeyInfo, SupportsVerify
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

_STYLES: Final = {"good": "green", "unchecked": "yellow", "wrong": "red", "unavailable": "magenta"}
# A person is waiting.
_PATIENCE: Final = RetryPolicy(attempts=2)


@attrs.frozen
class Diagnosis:
    """How one backend is.

    Attributes:
        backend: Name of the backend.
        vendor: Name of the plug-in.
        key: Where the key comes from, or None if there is none.
        region: Where the vendor keeps the data, where it has regions.
        level: What the key may do, in the vendor's word.
        organisation: The vendor's id of the organisation.
        health: Whether the settings are good.
        detail: Why, in a sentence.
    """

    backend: str
    vendor: str
    key: str | None
    health: Health
    detail: str
    region: str | None = None
    level: str | None = None
    organisation: str | None = None


def doctor(*, settings: options.SettingsOption = None, json: options.JsonOption = False) -> None:
    """Tell of each backend whether its settings are good, by asking the vendor where it lets itself be asked."""
    document, sections = load_backend_settings(settings)
    with Transport(retry=_PATIENCE, timeout=document.timeout) as transport:
        found = [diagnose(section, transport) for section in sections]
    if json:
        print_json({"backends": [attrs.asdict(diagnosis) for diagnosis in found]})
    else:
        _print_diagnoses(found)
    raise typer.Exit(_code({diagnosis.health for diagnosis in found}))


def diagnose(section: BackendSettings, transport: Transport) -> Diagnosis:
    """Return how the backend of *section* is."""
    try:
        backend = section.build()
    except ConfigurationError as error:
        return _diagnosis(section, "wrong", str(error))
    if not isinstance(backend, SupportsVerify):
        where = _whereabouts(section) if isinstance(backend, LogRocket) else ""
        return _diagnosis(section, "unchecked", f"{where}the vendor has no way to check a key")
    answer = transport.run(backend.verify())
    if isinstance(answer, KeyInfo):
        good = _diagnosis(section, "good", "the vendor knows the key")
        return attrs.evolve(good, region=answer.region, level=answer.level, organisation=answer.organisation)
    health: Health = "wrong" if isinstance(answer, Misconfigured | Rejected) else "unavailable"
    return _diagnosis(section, health, explain(answer))


def _diagnosis(section: BackendSettings, health: Health, detail: str) -> Diagnosis:
    return Diagnosis(section.name, section.vendor, section.key_origin, health, detail)


def _whereabouts(section: BackendSettings) -> str:
    """Tell where LogRocket's organisation and application come from; without both there would be no backend."""
    places = (f"{part} from the {'settings' if section.settings.get(part) else 'key'}" for part in ("org", "app"))
    return f"{', '.join(places)}; "


def _print_diagnoses(found: list[Diagnosis]) -> None:
    table = new_table("", "Backend", "Key from", "Region", "Level", "Organisation", "Health")
    for diagnosis in found:
        known = (diagnosis.key, diagnosis.region, diagnosis.level, diagnosis.organisation)
        cells = [value or "-" for value in known]
        table.add_row(diagnosis.backend, *cells, diagnosis.health, style=_STYLES[diagnosis.health])
    console = stdout_console()
    console.print(table)
    for diagnosis in found:
        console.print(f"{diagnosis.backend}: {diagnosis.detail}", soft_wrap=True)


def _code(healths: set[Health]) -> ExitCode:
    if "wrong" in healths:
        return ExitCode.SETTINGS
    return ExitCode.PENDING if "unavailable" in healths else ExitCode.OK
