from typing import Any

import orjson
import pytest
from replay_identity_mixpanel import Mixpanel

from replay_identity.adapters import (
    REMOVE,
    ConfigurationError,
    Plan,
    Rejected,
    Response,
    Skipped,
    SkipReason,
    SupportsMultiIdentify,
    SupportsVerify,
    UserTraits,
    Violation,
)
from replay_identity.config import load_settings
from replay_identity.testing import ScriptedTransport

BACKEND = Mixpanel("token-1")
HOST = "https://api.mixpanel.com"
QUERY = "/engage?ip=0&verbose=1&strict=1"


def url_of(backend: Mixpanel) -> str:
    """Return the address that a user would be sent to."""
    request = backend.plan(UserTraits("u1", name="Ann")).request
    assert request is not None
    return request.url


def test_a_user_is_set_and_unset_in_one_request() -> None:
    """Two updates: the one that removes follows the one that sets, and each has the token."""
    user = UserTraits("u1", name="Ann", email="a@example.com", traits={"old": REMOVE, "plan": "pro", "older": REMOVE})

    request = BACKEND.plan(user).request

    assert request is not None
    assert (request.operation, request.method, request.url) == ("identify", "POST", HOST + QUERY)
    assert orjson.loads(request.body or b"") == [
        {
            "$token": "token-1",
            "$distinct_id": "u1",
            "$set": {"$name": "Ann", "$email": "a@example.com", "plan": "pro"},
        },
        {"$token": "token-1", "$distinct_id": "u1", "$unset": ["old", "older"]},
    ]


def test_nothing_is_compressed() -> None:
    """Mixpanel does not support gzip here; and the token stands in the body alone."""
    request = BACKEND.plan(UserTraits("u1", name="Ann")).request

    assert request is not None
    assert dict(request.headers) == {"accept": "application/json, text/plain", "content-type": "application/json"}
    assert request.idempotency_header is None


def test_a_user_with_removals_alone_is_only_unset() -> None:
    """An update that sets nothing would say nothing."""
    request = BACKEND.plan(UserTraits("u1", traits={"old": REMOVE})).request

    assert request is not None
    assert [update.keys() - {"$token", "$distinct_id"} for update in orjson.loads(request.body or b"")] == [{"$unset"}]


@pytest.mark.parametrize(
    ("base_url", "url"),
    [
        (None, HOST + QUERY),
        ("https://api-eu.mixpanel.com", "https://api-eu.mixpanel.com" + QUERY),
        ("https://api-in.mixpanel.com/", "https://api-in.mixpanel.com" + QUERY),
        ("http://127.0.0.1:8000/proxy", "http://127.0.0.1:8000/proxy" + QUERY),
    ],
)
def test_other_regions_have_other_hosts(base_url: str | None, url: str) -> None:
    """The query stays the same wherever the project is kept."""
    assert url_of(Mixpanel("t", base_url=base_url)) == url


@pytest.mark.parametrize(
    ("key", "options", "setting"),
    [
        ("", {}, "api_key"),
        (None, {}, "api_key"),
        ("s3cret s3cret", {}, "api_key"),
        ("s3cret\n", {}, "api_key"),
        ("s3cret", {"base_url": "http://api.mixpanel.com"}, "base_url"),
        ("s3cret", {"base_url": "https://api.mixpanel.com/engage?ip=1"}, "base_url"),
        ("s3cret", {"on_violation": "truncate"}, "on_violation"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(key: Any, options: Any, setting: str) -> None:
    """At once, and without its value."""
    with pytest.raises(ConfigurationError) as caught:
        Mixpanel(key, **options)

    assert caught.value.setting == setting
    assert "s3cret" not in str(caught.value)


def test_plain_http_can_be_allowed() -> None:
    """For a proxy inside a network of one's own."""
    assert url_of(Mixpanel("t", base_url="http://proxy.internal", allow_insecure=True)).startswith("http://proxy.")


@pytest.mark.parametrize("on_violation", ["reject", "adapt"])
def test_an_anonymous_user_is_refused(on_violation: Any) -> None:
    """An update without an id would be nobody's."""
    transport = ScriptedTransport()

    outcome = transport.run(Mixpanel("t", on_violation=on_violation).identify(UserTraits(name="Ann")))

    assert outcome == Rejected("mixpanel", (Violation("user_id", "anonymous-user"),))
    assert transport.requests == []


def test_a_user_of_whom_nothing_is_known_is_skipped() -> None:
    """An empty update has no documented meaning; and when it was observed is not sent."""
    transport = ScriptedTransport()

    outcome = transport.run(BACKEND.identify(UserTraits("u1")))

    assert outcome == Skipped("mixpanel", SkipReason.NOTHING_TO_SEND)
    assert BACKEND.plan(UserTraits("u1")) == Plan("mixpanel", None)
    assert transport.requests == []


def test_a_user_of_whom_nothing_is_left_is_refused() -> None:
    """All was dropped, and skipping would hide it."""
    plan = Mixpanel("t", on_violation="adapt").plan(UserTraits("u1", traits={"$city": "Rome"}))

    assert plan.violations == (Violation("traits", "nothing-left"),)
    assert [each.kind for each in plan.adjustments] == ["dropped"]


def test_mixpanel_takes_many_users_and_verifies_no_token() -> None:
    """A wrong token is answered like a good one, so there is nothing to ask."""
    assert isinstance(BACKEND, SupportsMultiIdentify)
    assert not isinstance(BACKEND, SupportsVerify)
    assert BACKEND.max_users.maximum == 2000


def test_the_environment_is_enough() -> None:
    """The class is found through its entry point, and the token and the region by the name of the vendor."""
    environment = {"MIXPANEL_API_KEY": "token-1", "MIXPANEL_BASE_URL": "https://api-eu.mixpanel.com"}

    settings = load_settings(environ=environment)

    assert settings.backends == (Mixpanel("token-1", base_url="https://api-eu.mixpanel.com"),)


def test_outcomes_carry_the_name_given() -> None:
    """Two projects can stand in one router."""
    backend = Mixpanel("t", name="mixpanel-eu")

    outcome = ScriptedTransport(Response(200, body=b"1")).run(backend.identify(UserTraits("u1", name="Ann")))

    assert outcome.backend == "mixpanel-eu"
