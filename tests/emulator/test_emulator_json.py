"""The JSON that emulators parse."""

import orjson
import pytest

from replay_identity.emulator.http import parse_json


@pytest.mark.parametrize(("start", "end"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_json_nested_too_deeply_is_refused(start: bytes, end: bytes) -> None:
    """What is accepted can be stored and shown; the parser of JSON reads more levels than it writes."""
    accepted = parse_json(start * 240 + b"1" + end * 240)

    assert orjson.dumps({"view": {"user": [accepted]}})
    for depth in (260, 300, 1000, 1100):
        with pytest.raises(ValueError, match=r"nested|depth"):
            parse_json(start * depth + b"1" + end * depth)
