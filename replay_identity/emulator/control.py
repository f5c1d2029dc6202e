"""The `/_emulator/` pages: look at the state and set faults with a browser or curl."""

from typing import Any

import attrs

from .faults import Fault
from .http import Answer, JsonValue, Received, json_answer, parse_json
from .vendor import Backstage

PREFIX = "_emulator"


def is_control(received: Received) -> bool:
    """Say whether the request is for the emulator instead of the vendor."""
    return received.segments[:1] == (PREFIX,)


def answer_control(backstage: Backstage, received: Received) -> Answer:
    """Do what a `/_emulator/` request asks for."""
    views = backstage.vendor.views()
    match received.method, "/".join(received.segments[1:]):
        case "GET", name if name in views:
            return json_answer(200, views[name]())
        case "GET", "requests":
            return json_answer(200, _requests(backstage))
        case "POST", "faults":
            return _add_fault(backstage, received.body)
        case "DELETE", "faults":
            backstage.faults.clear()
            return Answer(status=204)
        case "POST", "reset":
            backstage.reset()
            return Answer(status=204)
        case _:
            shown = ", ".join(f"GET {name}" for name in (*views, "requests"))
            return json_answer(404, {"error": f"{shown}, POST/DELETE faults or POST reset."})


def _requests(backstage: Backstage) -> JsonValue:
    journal = backstage.journal
    return {
        "total": journal.total,
        "by_status": {str(status): count for status, count in sorted(journal.by_status.items())},
        "requests": [{"method": entry.method, "path": entry.path, "status": entry.status} for entry in journal.entries],
    }


def _add_fault(backstage: Backstage, body: bytes) -> Answer:
    try:
        fault = read_fault(parse_json(body))
    except (TypeError, ValueError) as error:
        return json_answer(400, {"error": str(error.args[0])})

    backstage.faults.add(fault)
    return Answer(status=204)


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
