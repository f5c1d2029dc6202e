"""The account and the encoding of a backend: what the vendor's confirmed state is true of."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

import attrs
import pytest

from replay_identity import Fullstory, LogRocket, Route
from replay_identity.adapters import HttpAdapter, Limits
from replay_identity.logrocket import LIMITS
from replay_identity.logrocket.limits import NAME

NA1: Final = Fullstory("na1.one")
ACME: Final = LogRocket("acme:shop:one")


@attrs.frozen
class Acme(HttpAdapter):
    """An adapter with settings of its own, which plans nothing."""

    DEFAULT_BASE_URL: ClassVar[str] = "https://api.acme.example/v3"
    LIMITS: ClassVar[Limits] = LIMITS

    secret: str = attrs.field(default="", kw_only=True, repr=False)
    sizes: Mapping[str, frozenset[str]] = attrs.field(factory=dict[str, frozenset[str]], kw_only=True)
    tags: frozenset[str] = attrs.field(default=frozenset(), kw_only=True)


class Foreign:
    """A backend that was written before backends named their account."""

    name = "foreign"
    limits = LIMITS


@pytest.mark.parametrize(
    ("backend", "account"),
    [
        (ACME, "api.logrocket.com/acme/shop"),
        (LogRocket("one", org="a b", app="c"), "api.logrocket.com/a%20b/c"),
        (LogRocket("a:b:c", base_url="http://127.0.0.1:8080/proxy/"), "127.0.0.1:8080/proxy/a/b"),
        (NA1, "api.fullstory.com key bfae1b00"),
        (Fullstory("eu1.one"), "api.eu1.fullstory.com key c07b3060"),
        (Acme("k"), "api.acme.example/v3 key 561378b0"),
    ],
)
def test_account_names_host_and_organisation(backend: HttpAdapter, account: str) -> None:
    """A fingerprint of the key is part of it only where the vendor's URL names no organisation."""
    assert backend.account == account


@pytest.mark.parametrize("base_url", ["https://API.acme.example:443/v3/", "https://api.acme.example/v3"])
def test_one_address_is_one_account(base_url: str) -> None:
    """Case, the usual port and a slash at the end make no difference."""
    assert Acme("k", base_url=base_url).account == Acme("k").account


@pytest.mark.parametrize(
    "other",
    [
        LogRocket("acme:shop:two"),
        LogRocket("acme:shop:one", name="b", on_violation="adapt"),
    ],
)
def test_rotated_key_keeps_the_logrocket_account(other: LogRocket) -> None:
    """Organisation and application name it."""
    assert other.account == ACME.account


@pytest.mark.parametrize("port", ["", ":8443"])
def test_another_key_is_another_fullstory_account(port: str) -> None:
    """Nothing but the key says whose users these are."""
    first = Fullstory("na1.one", base_url=f"https://fs.example{port}")

    assert first.account != Fullstory("na1.two", base_url=f"https://fs.example{port}").account


@pytest.mark.parametrize("backend", [NA1, ACME, Acme("a-secret-key")])
def test_account_and_encoding_hide_the_key(backend: HttpAdapter) -> None:
    """They are printed in reports."""
    assert backend.api_key not in backend.account + backend.encoding


@pytest.mark.parametrize(
    "other",
    [
        Acme("k", on_violation="adapt"),
        Acme("k", tags=frozenset("a")),
        Acme("k", sizes={"a": frozenset("b")}),
    ],
)
def test_encoding_changes_with_a_setting(other: Acme) -> None:
    """Each of them can change what is sent for a user."""
    assert other.encoding != Acme("k").encoding


def test_encoding_changes_with_the_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user who was rejected may be accepted now."""
    before = Acme("k").encoding

    monkeypatch.setattr(Acme, "LIMITS", attrs.evolve(LIMITS, name=attrs.evolve(NAME, maximum=7)))

    assert Acme("k").encoding != before


@pytest.mark.parametrize(
    "other", [Acme("other"), Acme("k", base_url="https://b.example"), Acme("k", name="b"), Acme("k", secret="s")]
)
def test_encoding_is_the_same_elsewhere(other: Acme) -> None:
    """Where users are sent does not change what is sent."""
    assert other.encoding == Acme("k").encoding


def test_encoding_does_not_depend_on_order() -> None:
    """The order of a set differs between processes."""
    names = [f"name{number}" for number in range(50)]
    back = names[::-1]

    first, second = Acme("k", tags=frozenset(names)), Acme("k", tags=frozenset(back))
    route = Route(ACME, only=set(names), rename=dict(zip(names, names, strict=True)))
    other = Route(ACME, only=set(back), rename=dict(zip(back, back, strict=True)))

    assert (first.encoding, route.encoding) == (second.encoding, other.encoding)


@pytest.mark.parametrize(
    "route",
    [
        Route(ACME, only={"plan"}),
        Route(ACME, only=set()),
        Route(ACME, exclude={"plan"}),
        Route(ACME, rename={"plan": "tier"}),
    ],
)
def test_route_is_part_of_the_encoding(route: Route) -> None:
    """It decides what is sent; the account is the backend's."""
    assert route.encoding != Route(ACME).encoding
    assert route.account == ACME.account


def test_foreign_backend_has_an_encoding_of_its_own() -> None:
    """It names no account, and its class and its limits stand for the rest."""
    foreign: Any = Foreign()

    route = Route(foreign)

    assert route.account == ""
    assert "Foreign" in route.encoding
    assert "name 1024 UTF-16 units" in route.encoding
