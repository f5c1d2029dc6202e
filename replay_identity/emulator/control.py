"""The `/_emulator/` pages: look at the state and set faults with a browser or curl."""

from typing import Any

import attrs

from .faults import Fault
from .http import JsonValue, ReceivedRequest, VendorResponse, json_response, parse_json
from .vendor import EmulatorState

PREFIX = "_emulator"


def is_control(received: ReceivedRequest) -> bool:
    """Say whether the request is for the emulator instead of the vendor."""
    return received.segments[:1] == (PREFIX,)


def control_response(state: EmulatorState, received: ReceivedRequest) -> VendorResponse:
    """Do what a `/_emulator/` request asks for."""
    debug_views = state.vendor.debug_views()
    match received.method, "/".join(received.segments[1:]):
        case "GET", name if name in debug_views:
            return json_response(200, debug_views[name]())
        case "GET", "requests":
            return json_response(200, _requests(state))
        case "POST", "faults":
            return _add_fault(state, received.body)
        case "DELETE", "faults":
            state.faults.clear()
            return VendorResponse(status=204)
        case "POST", "reset":
            state.reset()
            return VendorResponse(status=204)
        case _:
            shown = ", ".join(f"GET {name}" for name in (*debug_views, "requests"))
            return json_response(404, {"error": f"{shown}, POST/DELETE faults or POST reset."})


def _requests(state: EmulatorState) -> JsonValue:
    journal = state.journal
    return {
        "total": journal.total,
        "by_status": {str(status): count for status, count in sorted(journal.by_status.items())},
        "requests": [{"method": entry.method, "path": entry.path, "status": entry.status} for entry in journal.entries],
    }


def _add_fault(state: EmulatorState, body: bytes) -> VendorResponse:
    try:
        fault = read_fault(parse_json(body))
    except (TypeError, ValueError) as error:
        return json_response(400, {"error": str(error.args[0])})

    state.faults.add(fault)
    return VendorResponse(status=204)


def read_fault(value: JsonValue) -> Fault:
    """Return the fault that *value* describes, field by field, with the body as text.

    Raises:
        TypeError: A field has the wrong type or is unknown.
        ValueError: A field has a value that makes no sense.
    """
    if not isinstance(value, dict):
        raise TypeError("A fault is a JSON object.")

    unknown = value.keys() - {field.name for field in attrs.fields(Fault)}
    if unknown:
        raise TypeError(f"A fault has no {', '.join(sorted(unknown))}.")

    fields: dict[str, Any] = dict(value)
    if isinstance(fields.get("body"), str):
        fields["body"] = fields["body"].encode()
    return Fault(**fields)
