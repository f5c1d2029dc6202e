"""Bodies unpack in bounded steps, within limits, and never in part."""

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay_identity.adapters import NoResponse
from replay_identity.transport import unpacking
from replay_identity.transport.unpacking import STEP_BYTES, Body, BodyAbortedError

TEXT = b'{"userID": "u1", "plan": "pro"}' * 9


def deflate(content: bytes, window: int) -> bytes:
    """Return *content* packed with zlib's *window*."""
    packer = zlib.compressobj(wbits=window)
    return packer.compress(content) + packer.flush()


PACKED = {
    "gzip": gzip.compress(TEXT),
    "GZip": gzip.compress(TEXT),
    "x-gzip": gzip.compress(TEXT),
    "deflate": deflate(TEXT, zlib.MAX_WBITS),
    " deflate ": deflate(TEXT, -zlib.MAX_WBITS),
    "identity": TEXT,
    "": TEXT,
    "identity, gzip, ": gzip.compress(TEXT),
}


def unpacked(encoding: str, *chunks: bytes) -> bytes:
    """Return the body that arrives in *chunks*."""
    body = Body(encoding)
    for chunk in chunks:
        for _ in body.add(chunk):
            pass
    return body.content()


def failure(encoding: str, *chunks: bytes) -> NoResponse:
    """Return why the body cannot be read."""
    with pytest.raises(BodyAbortedError) as caught:
        unpacked(encoding, *chunks)
    return caught.value.no_response


@pytest.mark.parametrize("encoding", PACKED)
@given(size=st.integers(1, 50))
def test_unpacks_what_arrives_in_any_pieces(encoding: str, size: int) -> None:
    """Where the network cuts a body does not matter."""
    packed = PACKED[encoding]

    assert unpacked(encoding, *(packed[i : i + size] for i in range(0, len(packed), size))) == TEXT


@pytest.mark.parametrize("window", [zlib.MAX_WBITS, -zlib.MAX_WBITS, zlib.MAX_WBITS | 16])
@given(length=st.integers(0, 3 * STEP_BYTES), end=st.binary(max_size=9))
def test_unpacks_any_length(window: int, length: int, end: bytes) -> None:
    """Nothing is lost where a step ends."""
    content = b" " * length + end

    assert unpacked("gzip" if window > zlib.MAX_WBITS else "deflate", deflate(content, window)) == content


def test_unpacks_all_members() -> None:
    """Files in the format of gzip may follow one another."""
    assert unpacked("gzip", gzip.compress(b"a") + gzip.compress(b""), gzip.compress(b"b")) == b"ab"


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "gzip, gzip", "br"])
def test_nothing_unpacks_to_nothing(encoding: str) -> None:
    """The response to HEAD and a 204 may have the header without a body."""
    assert unpacked(encoding) == unpacked(encoding, b"") == b""


@pytest.mark.parametrize(
    "encoding", ["gzip, gzip", "gzip,deflate", "deflate, identity, gzip", "br", "zstd", "aes, gzip"]
)
def test_refuses_what_was_not_asked_for(encoding: str) -> None:
    """Gzip in gzip makes a response a million times larger."""
    assert failure(encoding, gzip.compress(gzip.compress(TEXT))) is NoResponse.UNREADABLE


@pytest.mark.parametrize("encoding", ["gzip", "deflate", " deflate "])
@given(data=st.data())
def test_refuses_half_a_body(encoding: str, data: st.DataObject) -> None:
    """Half the users are not all users."""
    packed = PACKED[encoding]

    assert failure(encoding, packed[: data.draw(st.integers(1, len(packed) - 1))]) is NoResponse.UNREADABLE


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        ("gzip", b"plain text"),
        ("gzip", PACKED["gzip"] + b"more"),
        ("gzip", PACKED["gzip"][:-8] + bytes(8)),
        ("deflate", PACKED["deflate"] + b"more"),
        ("deflate", PACKED["gzip"]),
        ("deflate", b"\x78\x9cbroken"),
        ("deflate", b"<html>"),
    ],
    ids=["no gzip", "more than gzip", "wrong checksum", "more than deflate", "gzip as deflate", "broken", "HTML"],
)
def test_refuses_broken_data(encoding: str, packed: bytes) -> None:
    """A checksum is checked, and nothing may follow."""
    assert failure(encoding, packed) is NoResponse.UNREADABLE


@pytest.mark.parametrize("encoding", ["gzip", "deflate", " deflate ", ""])
def test_limits_what_comes_out(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body at the limit is read, and one over it is not."""
    monkeypatch.setattr(unpacking, "MAX_RESPONSE_BYTES", len(TEXT))
    assert unpacked(encoding, PACKED[encoding]) == TEXT

    monkeypatch.setattr(unpacking, "MAX_RESPONSE_BYTES", len(TEXT) - 1)
    assert failure(encoding, PACKED[encoding]) is NoResponse.TOO_LARGE


def test_limits_what_comes_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks without content never end, and unpack to nothing."""
    monkeypatch.setattr(unpacking, "MAX_RESPONSE_BYTES", 100)

    assert failure("gzip", *[gzip.compress(b"")] * 9) is NoResponse.TOO_LARGE


def test_a_bomb_ends_after_a_few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """No step unpacks more than it should."""
    monkeypatch.setattr(unpacking, "MAX_RESPONSE_BYTES", 4 * STEP_BYTES)
    body, steps = Body("gzip"), 0
    bomb = gzip.compress(bytes(100 * STEP_BYTES))

    with pytest.raises(BodyAbortedError):  # noqa: PT012  # The steps up to the last one count.
        for _ in body.add(bomb):
            steps += 1

    assert steps == 4
