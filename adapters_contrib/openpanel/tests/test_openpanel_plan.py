from typing import Any

import orjson
import pytest
from replay_identity_openpanel import OpenPanel

from replay_identity.adapters import (
    Accepted,
    ConfigurationError,
    Plan,
    Rejected,
    Request,
    Response,
    Skipped,
    SkipReason,
    SupportsBatch,
    SupportsCompare,
    SupportsDelete,
    SupportsExclude,
    SupportsMultiIdentify,
    SupportsRead,
    SupportsVerify,
    UserTraits,
    Violation,
)
from replay_identity.config import load_settings
from replay_identity.testing import ScriptedTransport

KEY = "sec_canary"
CLIENT_ID = "3f2c9a10-1b7e-4c55-8a43-0d6f7b1e2a90"
BACKEND = OpenPanel(KEY, client_id=CLIENT_ID)
LENIENT = OpenPanel(KEY, client_id=CLIENT_ID, on_violation="adapt")
ACCEPTED = Response(200, body=b'{"deviceId":"d","sessionId":"s"}')


def request_of(user: UserTraits, backend: OpenPanel = BACKEND) -> Request:
    """Return the request that would be sent for *user*."""
    plan = backend.plan(user)
    assert plan.request is not None, plan.violations
    return plan.request


def test_a_user_is_sent_as_one_identify() -> None:
    """With OpenPanel's names, and without fields that the user does not have."""
    user = UserTraits("u1", name="Ada Lovelace", email="ada@example.com", traits={"plan": "pro"})

    request = request_of(user)

    assert (request.operation, request.method, request.url) == (
        "identify",
        "POST",
        "https://api.openpanel.dev/track",
    )
    assert orjson.loads(request.body or b"") == {
        "type": "identify",
        "payload": {
            "profileId": "u1",
            "firstName": "Ada",
            "lastName": "Lovelace",
            "email": "ada@example.com",
            "properties": {"plan": "pro"},
        },
    }
    assert orjson.loads(request_of(UserTraits("u1", name="Ada")).body or b"")["payload"] == {
        "profileId": "u1",
        "firstName": "Ada",
    }


def test_the_headers_describe_a_server() -> None:
    """No Origin, no client address, and a User-Agent of one name and one version."""
    headers = request_of(UserTraits("u1", name="Ada")).headers

    assert headers["openpanel-client-id"] == CLIENT_ID
    assert headers["openpanel-client-secret"] == KEY
    assert headers.keys().isdisjoint({"origin", "x-client-ip"})
    name, _, number = headers["user-agent"].partition("/")
    assert name == "replay-identity-openpanel"
    assert set(number) <= set("0123456789.")


def test_base_url_is_a_self_hosted_servers() -> None:
    """It may have a path, as behind a reverse proxy."""
    backend = OpenPanel(KEY, client_id=CLIENT_ID, base_url="https://op.example.com/api/")

    assert request_of(UserTraits("u1", name="Ada"), backend).url == "https://op.example.com/api/track"


@pytest.mark.parametrize("user_id", ["1", "nobody", " u1 ", "é" * 5000, "a/b"])
def test_an_id_is_sent_unchanged(user_id: str) -> None:
    """As text of any length, since OpenPanel has no limit."""
    body = request_of(UserTraits(user_id, name="Ada")).body

    assert orjson.loads(body or b"")["payload"]["profileId"] == user_id


@pytest.mark.parametrize("backend", [BACKEND, LENIENT])
def test_an_anonymous_user_is_rejected(backend: OpenPanel) -> None:
    """An invented id would create another user."""
    assert backend.plan(UserTraits(name="Ada")).violations == (Violation("user_id", "anonymous-user"),)


def test_a_user_who_breaks_a_rule_is_not_sent() -> None:
    """They are rejected without a request."""
    transport = ScriptedTransport(ACCEPTED)

    outcome = transport.run(BACKEND.identify(UserTraits("u1", name="Ada", email="ada")))

    assert outcome == Rejected("openpanel", (Violation("email", "email-form"),))
    assert transport.requests == []


def test_a_user_without_data_is_skipped() -> None:
    """An id alone would create a profile without a name."""
    transport = ScriptedTransport(ACCEPTED)

    assert transport.run(BACKEND.identify(UserTraits("u1"))) == Skipped("openpanel", SkipReason.NOTHING_TO_SEND)
    assert BACKEND.plan(UserTraits("u1")) == Plan("openpanel", None)
    assert transport.requests == []


def test_a_user_with_nothing_left_is_rejected() -> None:
    """Skipping a user whose every trait was dropped would hide the loss."""
    plan = LENIENT.plan(UserTraits("u1", email="ada", traits={"plan": ""}))

    assert plan.violations == (Violation("traits", "nothing-left"),)
    assert [(adjustment.path, adjustment.kind) for adjustment in plan.adjustments] == [
        ("email", "dropped"),
        ("traits.plan", "dropped"),
    ]


def test_an_accepted_user_is_never_verified() -> None:
    """The response means that the update is in a buffer, and does not show the profile."""
    outcome = ScriptedTransport(ACCEPTED).run(LENIENT.identify(UserTraits("u1", name="Ada Lovelace", email="ada")))

    assert isinstance(outcome, Accepted)
    assert not outcome.verified
    assert [adjustment.rule for adjustment in outcome.adjustments] == ["email-form"]


@pytest.mark.parametrize(
    ("key", "options", "setting"),
    [
        ("", {}, "api_key"),
        (None, {}, "api_key"),
        ("sec_hidden\n", {}, "api_key"),
        ("sec_hidden", {"client_id": "3F2C9A10-1B7E-4C55-8A43-0D6F7B1E2A90"}, "client_id"),
        ("sec_hidden", {"client_id": "3f2c9a101b7e4c558a430d6f7b1e2a90"}, "client_id"),
        ("sec_hidden", {"client_id": f"{CLIENT_ID}\n"}, "client_id"),
        ("sec_hidden", {"client_id": ""}, "client_id"),
        ("sec_hidden", {"client_id": "sec_hidden"}, "client_id"),
        ("sec_hidden", {"client_id": None}, "client_id"),
        ("sec_hidden", {"base_url": "http://op.example.com"}, "base_url"),
        ("sec_hidden", {"base_url": "https://op.example.com/api/track/"}, "base_url"),
        ("sec_hidden", {"on_violation": "truncate"}, "on_violation"),
    ],
)
def test_an_invalid_setting_is_named(key: Any, options: dict[str, Any], setting: str) -> None:
    """The error names the setting, without its value."""
    arguments: Any = {"client_id": CLIENT_ID, **options}
    with pytest.raises(ConfigurationError) as caught:
        OpenPanel(key, **arguments)

    assert caught.value.setting == setting
    assert "sec_hidden" not in str(caught.value)


def test_settings_come_from_file_and_environment(tmp_path: Any) -> None:
    """The secret is in the environment, under the vendor's name."""
    path = tmp_path / "replay-identity.toml"
    path.write_text(f'[backends.openpanel]\nclient_id = "{CLIENT_ID}"\n')

    (backend,) = load_settings(path, {"OPENPANEL_API_KEY": KEY}).backends

    assert backend == BACKEND


def test_sends_one_user_at_a_time_and_reads_none() -> None:
    """A client with write access cannot read, and there is no batch of profiles."""
    more = SupportsMultiIdentify | SupportsBatch | SupportsRead | SupportsDelete | SupportsExclude | SupportsVerify
    assert not isinstance(BACKEND, more | SupportsCompare)
    assert list(BACKEND.limits) == []


def test_the_repr_of_a_backend_shows_no_secret() -> None:
    """The client's id is public: it is in every page that OpenPanel records."""
    assert KEY not in repr(BACKEND)
    assert CLIENT_ID in repr(BACKEND)
