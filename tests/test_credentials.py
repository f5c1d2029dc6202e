import traceback
from typing import Any

import pytest

from replay_identity import ConfigurationError
from replay_identity.adapters.credentials import check_api_key, check_base_url, check_header


@pytest.mark.parametrize("key", ["na1.by11Q/DEMO", "org:app:secret", "!~"])
def test_a_key_of_visible_letters_is_taken(key: str) -> None:
    """Whatever its shape, the vendor knows best."""
    check_api_key(key, hint="set IT")


@pytest.mark.parametrize("key", ["", None, 7, b"key"])
def test_a_missing_key_names_where_to_set_it(key: Any) -> None:
    """The hint is the caller's."""
    with pytest.raises(ConfigurationError) as caught:
        check_api_key(key, hint="set FULLSTORY_API_KEY")

    assert str(caught.value) == "api_key: the key is missing; set FULLSTORY_API_KEY"


@pytest.mark.parametrize("bad", ["\n", "\r", "\0", "\t", " ", "é", "\x7f", "\u200b", "\ud800"])
@pytest.mark.parametrize("place", ["{}canarykey", "canary{}key", "canarykey{}"])
def test_a_key_that_no_header_can_hold_is_refused(bad: str, place: str) -> None:
    """Before it is ever sent, and without being quoted."""
    with pytest.raises(ConfigurationError) as caught:
        check_api_key(place.format(bad), hint="")

    assert caught.value.setting == "api_key"
    assert "canary" not in str(caught.value) + repr(caught.value)


@pytest.mark.parametrize("value", ["segment", "my app 1.0"])
def test_a_header_may_hold_visible_letters(value: str) -> None:
    """And spaces."""
    check_header("integration_source", value)


@pytest.mark.parametrize("value", ["a\nb", "a\r\nx: y", "é", "\0"])
def test_a_header_with_anything_else_is_refused(value: str) -> None:
    """A line break would start another header."""
    with pytest.raises(ConfigurationError, match=r"^integration_source: expected printable ASCII"):
        check_header("integration_source", value)


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("https://api.example.com", "https://api.example.com"),
        ("https://api.example.com/", "https://api.example.com"),
        ("https://proxy.example.com:8443/fullstory//", "https://proxy.example.com:8443/fullstory"),
        ("http://localhost:8801", "http://localhost:8801"),
        ("http://LOCALHOST:8801", "http://LOCALHOST:8801"),
        ("http://127.0.0.1:8801", "http://127.0.0.1:8801"),
        ("http://127.1.2.3", "http://127.1.2.3"),
        ("http://[::1]:8801/", "http://[::1]:8801"),
    ],
)
def test_an_address_is_used_without_its_last_slash(given: str, used: str) -> None:
    """Paths are put behind it."""
    assert check_base_url(given, allow_insecure=False) == used


@pytest.mark.parametrize(
    "address", ["http://api.example.com", "http://10.0.0.1", "http://[::2]", "http://localhost.evil"]
)
def test_plain_http_is_for_loopback(address: str) -> None:
    """Unless it is allowed by name."""
    with pytest.raises(ConfigurationError, match=r"^base_url: plain http .*allow_insecure=True"):
        check_base_url(address, allow_insecure=False)
    assert check_base_url(address, allow_insecure=True) == address


@pytest.mark.parametrize(
    "address",
    [
        "",
        "canary",
        "ftp://canary",
        "https://",
        "https:///canary",
        "//canary",
        "https://user:canary@api.example.com",
        "https://canary@api.example.com",
        "https://api.example.com/?canary",
        "https://api.example.com/?",
        "https://api.example.com/#canary",
        "https://api.example.com#",
        "https://api.example.com\ncanary",
        " https://canary.example.com",
        "https://canary example.com",
        "https://[canary",
        "https://canary:99999",
        "https://canary:port",
    ],
)
def test_what_is_no_address_is_refused(address: str) -> None:
    """Without being quoted, since people put passwords into addresses."""
    with pytest.raises(ConfigurationError) as caught:
        check_base_url(address, allow_insecure=True)

    assert caught.value.setting == "base_url"
    assert "canary" not in str(caught.value) + "".join(traceback.format_exception(caught.value))
