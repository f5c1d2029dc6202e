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
    """Return the URL that a user would be sent to."""
    request = backend.plan(UserTraits("u1", name="Ann")).request
    assert request is not None
    return request.url


def test_one_request_sets_and_unsets() -> None:
    """The update that removes follows the one that sets, and each has the token."""
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
    """Mixpanel does not support gzip here, and the token is in the body only."""
    request = BACKEND.plan(UserTraits("u1", name="Ann")).request

    assert request is not None
    assert dict(request.headers) == {"accept": "application/json, text/plain", "content-type": "application/json"}
    assert request.idempotency_header is None


def test_removals_alone_need_one_update() -> None:
    """An update that sets nothing would have no effect."""
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
    """The query is the same in every region."""
    assert url_of(Mixpanel("t", base_url=base_url)) == url


@pytest.mark.parametrize(
    ("key", "options", "setting"),
    [
        ("", {}, "api_key"),
        (None, {}, "api_key"),
        ("s3cret s3cret", {}, "api_key"),
        ("s3cret\n", {}, "api_key"),
        ("s3cret", {"base_url": "http://api.mixpanel.com"}, "base_url"),
        ("s3cret", {"base_url": "https://api.mixpanel.com/engage"}, "base_url"),
        ("s3cret", {"base_url": "https://api.mixpanel.com/engage?ip=1"}, "base_url"),
        ("s3cret", {"on_violation": "truncate"}, "on_violation"),
    ],
)
def test_an_invalid_setting_is_named(key: Any, options: Any, setting: str) -> None:
    """The error names the setting, without its value."""
    with pytest.raises(ConfigurationError) as caught:
        Mixpanel(key, **options)

    assert caught.value.setting == setting
    assert "s3cret" not in str(caught.value)


def test_plain_http_can_be_allowed() -> None:
    """For a proxy inside a private network."""
    assert url_of(Mixpanel("t", base_url="http://proxy.internal", allow_insecure=True)).startswith("http://proxy.")


@pytest.mark.parametrize("on_violation", ["reject", "adapt"])
def test_an_anonymous_user_is_rejected(on_violation: Any) -> None:
    """An update without an id would belong to nobody."""
    transport = ScriptedTransport()

    outcome = transport.run(Mixpanel("t", on_violation=on_violation).identify(UserTraits(name="Ann")))

    assert outcome == Rejected("mixpanel", (Violation("user_id", "anonymous-user"),))
    assert transport.requests == []


def test_a_user_without_data_is_skipped() -> None:
    """The meaning of an empty update is not documented, and observed_at is not sent."""
    transport = ScriptedTransport()

    outcome = transport.run(BACKEND.identify(UserTraits("u1")))

    assert outcome == Skipped("mixpanel", SkipReason.NOTHING_TO_SEND)
    assert BACKEND.plan(UserTraits("u1")) == Plan("mixpanel", None)
    assert transport.requests == []


def test_a_user_with_nothing_left_is_rejected() -> None:
    """Skipping a user whose every trait was dropped would hide the loss."""
    plan = Mixpanel("t", on_violation="adapt").plan(UserTraits("u1", traits={"$city": "Rome"}))

    assert plan.violations == (Violation("traits", "nothing-left"),)
    assert [adjustment.kind for adjustment in plan.adjustments] == ["dropped"]


def test_sends_many_users_and_cannot_verify_tokens() -> None:
    """Mixpanel responds to a wrong token as to a valid one."""
    assert isinstance(BACKEND, SupportsMultiIdentify)
    assert not isinstance(BACKEND, SupportsVerify)
    assert BACKEND.max_users.maximum == 2000


def test_environment_variables_configure_the_backend() -> None:
    """The class is found by its entry point, the settings by the vendor's name."""
    environment = {"MIXPANEL_API_KEY": "token-1", "MIXPANEL_BASE_URL": "https://api-eu.mixpanel.com"}

    settings = load_settings(environ=environment)

    assert settings.backends == (Mixpanel("token-1", base_url="https://api-eu.mixpanel.com"),)


def test_outcomes_have_the_backends_name() -> None:
    """One router can send to two projects."""
    backend = Mixpanel("t", name="mixpanel-eu")

    outcome = ScriptedTransport(Response(200, body=b"1")).run(backend.identify(UserTraits("u1", name="Ann")))

    assert outcome.backend == "mixpanel-eu"
