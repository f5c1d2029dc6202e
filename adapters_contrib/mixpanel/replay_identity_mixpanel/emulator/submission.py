"""Read the updates and the options of a request, in each form in which Mixpanel's own clients send them.

- PyPI mixpanel 5.4.1 (`Consumer._write_request`, read 2026-11-30): a form with `data` as JSON, `verbose` and `ip`.
- npm mixpanel 0.24 (https://github.com/mixpanel/mixpanel-node at 0b0239a, lib/mixpanel-node.js, read 2026-11-30): GET
  with `data` in base64 in the query, or a form with `data` in base64 that is not percent-encoded.
- https://docs.mixpanel.com/reference/profile-set (2026-11-21): an array as JSON, and the options in the query.
"""

from base64 import b64decode
from collections.abc import Mapping
from urllib.parse import parse_qsl

import attrs

from replay_identity.emulator.http import JsonValue, ReceivedRequest, parse_json

FORM = "application/x-www-form-urlencoded"
# A plus that is not percent-encoded arrives as a blank. Policy: the alphabet for URLs is read, too.
BASE64 = str.maketrans({" ": "+", "-": "+", "_": "/"})


@attrs.frozen(kw_only=True)
class Submission:
    """The updates of one request, and the options `ip`, `verbose` and `strict`; `updates` is empty if it has none."""

    updates: list[JsonValue] = attrs.field(repr=False)
    options: Mapping[str, str] = attrs.field(repr=False)


def read_submission(request: ReceivedRequest) -> Submission:
    """Return what *request* submits."""
    # Policy: of an option in the query and in the form, the form's counts.
    options = {**request.query, **_form(request)}
    has_json_body = request.method == "POST" and "data" not in options
    try:
        content = parse_json(request.body if has_json_body else _decoded(options.get("data", "")))
    except ValueError:
        content = None
    return Submission(updates=_updates(content), options=options)


def _updates(content: JsonValue) -> list[JsonValue]:
    # Both clients send a single update as an object.
    if isinstance(content, dict):
        return [content]
    return content if isinstance(content, list) else []


def _form(request: ReceivedRequest) -> Mapping[str, str]:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if request.method != "POST" or media_type != FORM:
        return {}
    return dict(parse_qsl(request.body.decode(errors="replace"), keep_blank_values=True))


def _decoded(data: str) -> bytes:
    """Return *data* as JSON text, out of base64 unless it is JSON already; raise ValueError if it is neither."""
    return data.encode() if data.lstrip()[:1] in {"[", "{"} else b64decode(data.translate(BASE64))
