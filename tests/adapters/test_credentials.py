import traceback
from typing import Any

import pytest

from replay_identity import ConfigurationError
from replay_identity.adapters.credentials import check_api_key, check_base_url, check_header


@pytest.mark.parametrize("key", ["na1.by11Q/DEMO", "org:app:secret", "!~"])
def test_accepts_any_key_of_printable_ascii(key: str) -> None:
    """The vendor knows best which keys are valid."""
    check_api_key(key, hint="set IT")


@pytest.mark.parametrize("key", ["", None, 7, b"key"])
def test_a_missing_key_shows_the_callers_hint(key: Any) -> None:
    """The hint says where to set the key."""
    with pytest.raises(ConfigurationError) as caught:
        check_api_key(key, hint="set FULLSTORY_API_KEY")

    assert str(caught.value) == "api_key: the key is missing; set FULLSTORY_API_KEY"


@pytest.mark.parametrize("bad", ["\n", "\r", "\0", "\t", " ", "é", "\x7f", "\u200b", "\ud800"])
@pytest.mark.parametrize("place", ["{}canarykey", "canary{}key", "canarykey{}"])
def test_rejects_a_key_that_is_no_header_value(bad: str, place: str) -> None:
    """The key is rejected before it is sent, and not quoted."""
    with pytest.raises(ConfigurationError) as caught:
        check_api_key(place.format(bad), hint="")

    assert caught.value.setting == "api_key"
    assert "canary" not in str(caught.value) + repr(caught.value)


@pytest.mark.parametrize("value", ["segment", "my app 1.0"])
def test_accepts_a_header_of_printable_ascii(value: str) -> None:
    """Spaces are allowed."""
    check_header("integration_source", value)


@pytest.mark.parametrize("value", ["a\nb", "a\r\nx: y", "é", "\0"])
def test_rejects_a_header_of_other_characters(value: str) -> None:
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
def test_removes_trailing_slashes_from_a_url(given: str, used: str) -> None:
    """Paths are appended to it."""
    assert check_base_url(given, allow_insecure=False) == used


@pytest.mark.parametrize(
    "address", ["http://api.example.com", "http://10.0.0.1", "http://[::2]", "http://localhost.evil"]
)
def test_plain_http_is_for_loopback_only(address: str) -> None:
    """Other hosts must be allowed explicitly."""
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
def test_rejects_an_invalid_url_without_quoting_it(address: str) -> None:
    """People put passwords into URLs."""
    with pytest.raises(ConfigurationError) as caught:
        check_base_url(address, allow_insecure=True)

    assert caught.value.setting == "base_url"
    assert "canary" not in str(caught.value) + "".join(traceback.format_exception(caught.value))


USERS = "/v2/users"
ORGS = "/v1/orgs/{org}/apps/{app}"


@pytest.mark.parametrize(
    ("address", "api_path", "right"),
    [
        ("https://api.example.com/v2", USERS, "https://api.example.com"),
        ("https://api.example.com/V2///", USERS, "https://api.example.com"),
        ("https://api.example.com//v2/./", USERS, "https://api.example.com"),
        ("https://api.example.com/%76%32", USERS, "https://api.example.com"),
        ("https://api.example.com/v2/users", USERS, "https://api.example.com"),
        ("https://api.example.com/v2/users/batch", USERS, "https://api.example.com"),
        ("https://api.example.com/v1", USERS, "https://api.example.com"),
        ("https://api.example.com/v1/users", USERS, "https://api.example.com"),
        ("https://api.example.com/v2beta", USERS, "https://api.example.com"),
        ("https://api.example.com/v1.1", USERS, "https://api.example.com"),
        ("https://proxy.example.com:8443/r%20s/v2", USERS, "https://proxy.example.com:8443/r%20s"),
        ("http://[::1]:8801/v2", USERS, "http://[::1]:8801"),
        ("https://api.example.com/v1/orgs", ORGS, "https://api.example.com"),
        ("https://api.example.com/v1/orgs/acme", ORGS, "https://api.example.com"),
        ("https://api.example.com/v1/orgs/acme/apps/shop/users", ORGS, "https://api.example.com"),
        ("https://api.example.com/track", "/track", "https://api.example.com"),
        ("https://api.example.com/v1", "/track", "https://api.example.com"),
        ("https://api.example.com/api", "/api/send", "https://api.example.com"),
    ],
)
def test_refuses_a_url_with_the_apis_path(address: str, api_path: str, right: str) -> None:
    """The path would be in it twice, so that the vendor would find no user; the error has the right URL."""
    with pytest.raises(ConfigurationError) as caught:
        check_base_url(address, allow_insecure=False, api_path=api_path)

    assert (caught.value.setting, caught.value.hint) == ("base_url", f"write {right}")
    assert check_base_url(right, allow_insecure=False, api_path=api_path) == right


@pytest.mark.parametrize(
    ("address", "api_path"),
    [
        ("https://proxy.example.com/replay", USERS),
        ("https://proxy.example.com/users", USERS),
        ("https://proxy.example.com/v2/fullstory", USERS),
        ("https://proxy.example.com/vendors", USERS),
        ("https://proxy.example.com/v2-is-not-last/x", USERS),
        ("https://proxy.example.com/orgs/acme", ORGS),
        ("https://proxy.example.com/track/openpanel", "/track"),
        ("https://api.example.com/v1", ""),
    ],
)
def test_accepts_the_path_of_a_reverse_proxy(address: str, api_path: str) -> None:
    """A path is refused only if it is surely a mistake."""
    assert check_base_url(address, allow_insecure=False, api_path=api_path) == address
