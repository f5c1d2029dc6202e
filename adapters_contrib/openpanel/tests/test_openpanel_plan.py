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
TAKEN = Response(200, body=b'{"deviceId":"d","sessionId":"s"}')


def request_of(user: UserTraits, backend: OpenPanel = BACKEND) -> Request:
    """Return what would be sent for *user*."""
    plan = backend.plan(user)
    assert plan.request is not None, plan.violations
    return plan.request


def test_a_user_is_sent_as_one_identify() -> None:
    """The type and the payload, under OpenPanel's names; what was not given is not mentioned."""
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


def test_the_headers_hold_the_client_and_nothing_that_would_count_as_the_users() -> None:
    """No Origin, no address of a client, and a User-Agent that is one name and one version: a server's."""
    headers = request_of(UserTraits("u1", name="Ada")).headers

    assert headers["openpanel-client-id"] == CLIENT_ID
    assert headers["openpanel-client-secret"] == KEY
    assert headers.keys().isdisjoint({"origin", "x-client-ip"})
    name, _, number = headers["user-agent"].partition("/")
    assert name == "replay-identity-openpanel"
    assert set(number) <= set("0123456789.")


def test_a_server_of_ones_own_is_asked_under_its_address() -> None:
    """With a path of its own, as a reverse proxy gives it."""
    backend = OpenPanel(KEY, client_id=CLIENT_ID, base_url="https://op.example.com/api/")

    assert request_of(UserTraits("u1", name="Ada"), backend).url == "https://op.example.com/api/track"


@pytest.mark.parametrize("user_id", ["1", "null", " u1 ", "é" * 5000, "a/b"])
def test_an_id_is_sent_as_it_is(user_id: str) -> None:
    """As a text, however long, since OpenPanel limits none."""
    body = request_of(UserTraits(user_id, name="Ada")).body

    assert orjson.loads(body or b"")["payload"]["profileId"] == user_id


@pytest.mark.parametrize("backend", [BACKEND, LENIENT])
def test_an_anonymous_user_is_refused(backend: OpenPanel) -> None:
    """Inventing an id would make another user."""
    assert backend.plan(UserTraits(name="Ada")).violations == (Violation("user_id", "anonymous-user"),)


def test_a_user_who_breaks_a_rule_is_not_sent() -> None:
    """They are rejected before anything is asked."""
    transport = ScriptedTransport(TAKEN)

    outcome = transport.run(BACKEND.identify(UserTraits("u1", name="Ada", email="ada")))

    assert outcome == Rejected("openpanel", (Violation("email", "email-form"),))
    assert transport.requests == []


def test_a_user_of_whom_nothing_is_known_is_skipped() -> None:
    """An id alone would make a profile without a name."""
    transport = ScriptedTransport(TAKEN)

    assert transport.run(BACKEND.identify(UserTraits("u1"))) == Skipped("openpanel", SkipReason.NOTHING_TO_SEND)
    assert BACKEND.plan(UserTraits("u1")) == Plan("openpanel", None)
    assert transport.requests == []


def test_a_user_of_whom_nothing_is_left_is_refused() -> None:
    """All was dropped, and skipping would hide it."""
    plan = LENIENT.plan(UserTraits("u1", email="ada", traits={"plan": ""}))

    assert plan.violations == (Violation("traits", "nothing-left"),)
    assert [(each.path, each.kind) for each in plan.adjustments] == [("email", "dropped"), ("traits.plan", "dropped")]


def test_what_was_taken_is_accepted_and_never_verified() -> None:
    """The answer says that the profile waits in a buffer, not what is in it."""
    outcome = ScriptedTransport(TAKEN).run(LENIENT.identify(UserTraits("u1", name="Ada Lovelace", email="ada")))

    assert isinstance(outcome, Accepted)
    assert not outcome.verified
    assert [each.rule for each in outcome.adjustments] == ["email-form"]


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
        ("sec_hidden", {"on_violation": "truncate"}, "on_violation"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(key: Any, options: dict[str, Any], setting: str) -> None:
    """At once, and without its value."""
    given: Any = {"client_id": CLIENT_ID, **options}
    with pytest.raises(ConfigurationError) as caught:
        OpenPanel(key, **given)

    assert caught.value.setting == setting
    assert "sec_hidden" not in str(caught.value)


def test_settings_come_from_a_file_and_the_secret_from_the_environment(tmp_path: Any) -> None:
    """Under the vendor's name."""
    path = tmp_path / "replay-identity.toml"
    path.write_text(f'[backends.openpanel]\nclient_id = "{CLIENT_ID}"\n')

    (backend,) = load_settings(path, {"OPENPANEL_API_KEY": KEY}).backends

    assert backend == BACKEND


def test_openpanel_takes_one_user_at_a_time_and_shows_none_back() -> None:
    """A client that may write may not read, and there is no batch of profiles."""
    more = SupportsMultiIdentify | SupportsBatch | SupportsRead | SupportsDelete | SupportsExclude | SupportsVerify
    assert not isinstance(BACKEND, more | SupportsCompare)
    assert list(BACKEND.limits) == []


def test_the_repr_of_a_backend_shows_no_secret() -> None:
    """The client's id is in every page that OpenPanel records, and may be seen."""
    assert KEY not in repr(BACKEND)
    assert CLIENT_ID in repr(BACKEND)
