"""The `/_emulator/` pages: read the state and set faults with a browser or curl."""

from typing import Any, Final

import attrs

from .faults import Fault
from .http import JsonValue, ReceivedRequest, VendorResponse, json_response, parse_json
from .vendor import EmulatorState

PREFIX: Final = "_emulator"


def is_control(request: ReceivedRequest) -> bool:
    """Return True if the request is for the emulator's own pages."""
    return request.segments[:1] == (PREFIX,)


def control_response(state: EmulatorState, request: ReceivedRequest) -> VendorResponse:
    """Handle a request to a `/_emulator/` page."""
    debug_views = state.api.debug_views()
    match request.method, "/".join(request.segments[1:]):
        case "GET", name if name in debug_views:
            return json_response(200, debug_views[name]())
        case "GET", "requests":
            return json_response(200, _requests(state))
        case "POST", "faults":
            return _add_fault(state, request.body)
        case "DELETE", "faults":
            state.faults.clear()
            return VendorResponse(status=204)
        case "POST", "reset":
            state.reset()
            return VendorResponse(status=204)
        case _:
            pages = ", ".join(f"GET {name}" for name in (*debug_views, "requests"))
            return json_response(404, {"error": f"unknown page; use {pages}, POST faults, DELETE faults or POST reset"})


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
    """Return the fault that the JSON object *value* describes; its `body` is text.

    Raises:
        TypeError: A field is unknown or has the wrong type.
        ValueError: A field has an invalid value.
    """
    if not isinstance(value, dict):
        raise TypeError("fault: expected a JSON object")

    unknown = value.keys() - {field.name for field in attrs.fields(Fault)}
    if unknown:
        raise TypeError(f"fault: unknown fields: {', '.join(sorted(unknown))}")

    fields: dict[str, Any] = dict(value)
    if isinstance(fields.get("body"), str):
        fields["body"] = fields["body"].encode()
    return Fault(**fields)
