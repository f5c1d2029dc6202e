"""Settings, and the requests that they produce."""

import pickle
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import pytest
from replay_identity_posthog import PostHog

from replay_identity.adapters import (
    REMOVE,
    ConfigurationError,
    Plan,
    Request,
    Skipped,
    SkipReason,
    SupportsDelete,
    SupportsMultiIdentify,
    SupportsRead,
    UserTraits,
)
from replay_identity.config import load_settings
from replay_identity.testing import ScriptedTransport

KEY = "phc_canary"
ANN = UserTraits("u1", name="Ann", email="ann@example.com", traits={"plan": "pro", "old": REMOVE})
NOON = datetime(2026, 11, 21, 12, 0, 0, 123456, tzinfo=UTC)


def numbered() -> Callable[[], UUID]:
    """Return a function that returns the ids 1, 2, 3 and so on."""
    numbers = count(1)
    return lambda: UUID(int=next(numbers))


def sent(backend: PostHog, user: UserTraits) -> Request:
    """Return the request that is sent for a user."""
    transport = ScriptedTransport()
    transport.run(backend.identify(user))
    return transport.requests[0]


def planned(backend: PostHog, user: UserTraits) -> Request:
    """Return the request that would be sent for a user."""
    request = backend.plan(user).request
    assert request is not None
    return request


def test_a_user_is_one_set_event() -> None:
    """By default of version 0, with the project's key in the body."""
    backend = PostHog(KEY, now=lambda: NOON, new_id=numbered())

    request = sent(backend, ANN)

    assert (request.operation, request.method) == ("identify", "POST")
    assert request.url == "https://us.i.posthog.com/batch/"
    assert request.headers == {"accept": "application/json", "content-type": "application/json"}
    assert orjson.loads(request.body or b"") == {
        "api_key": KEY,
        "sent_at": "2026-11-21T12:00:00.123Z",
        "batch": [
            {
                "event": "$set",
                "uuid": "00000000-0000-0000-0000-000000000001",
                "distinct_id": "u1",
                "timestamp": "2026-11-21T12:00:00.123Z",
                "properties": {
                    "$geoip_disable": True,
                    "$set": {"name": "Ann", "email": "ann@example.com", "plan": "pro"},
                    "$unset": ["old"],
                },
            }
        ],
    }


def test_v1_has_headers_of_its_own() -> None:
    """With the project's key, and ids and times generated on sending."""
    backend = PostHog(KEY, capture="v1", now=lambda: NOON, new_id=numbered())

    request = sent(backend, ANN)

    assert (request.operation, request.method) == ("identify", "POST")
    assert request.url == "https://us.i.posthog.com/i/v1/analytics/events"
    assert request.idempotency_header is None
    assert request.headers == {
        "accept": "application/json",
        "authorization": f"Bearer {KEY}",
        "content-type": "application/json",
        "posthog-attempt": "1",
        "posthog-request-id": "00000000-0000-0000-0000-000000000002",
        "posthog-request-timestamp": "2026-11-21T12:00:00.123Z",
        "posthog-sdk-info": "replay-identity-posthog/0.1.0",
    }
    assert orjson.loads(request.body or b"") == {
        "created_at": "2026-11-21T12:00:00.123Z",
        "batch": [
            {
                "event": "$set",
                "uuid": "00000000-0000-0000-0000-000000000001",
                "distinct_id": "u1",
                "timestamp": "2026-11-21T12:00:00.123Z",
                "options": {},
                "properties": {
                    "$geoip_disable": True,
                    "$set": {"name": "Ann", "email": "ann@example.com", "plan": "pro"},
                    "$unset": ["old"],
                },
            }
        ],
    }


def test_a_plan_is_deterministic() -> None:
    """Every generated value is the nil UUID or the beginning of 1970."""

    def fail() -> Any:
        raise AssertionError("a plan is pure")

    request = planned(PostHog(KEY, capture="v1", now=fail, new_id=fail), ANN)

    body = orjson.loads(request.body or b"")
    nil, epoch = "00000000-0000-0000-0000-000000000000", "1970-01-01T00:00:00.000Z"
    assert body["created_at"] == body["batch"][0]["timestamp"] == epoch
    assert body["batch"][0]["uuid"] == request.headers["posthog-request-id"] == nil
    assert request.headers["posthog-request-timestamp"] == epoch


@pytest.mark.parametrize("capture", ["v0", "v1"])
def test_a_plan_has_the_size_of_the_request(capture: Any) -> None:
    """So a size within the limit stays within it."""
    backend = PostHog(KEY, capture=capture, now=lambda: NOON.replace(microsecond=0))

    assert len(sent(backend, ANN).body or b"") == len(planned(backend, ANN).body or b"")


@pytest.mark.parametrize(
    ("moment", "written"),
    [
        (NOON, "2026-11-21T12:00:00.123Z"),
        (NOON.replace(microsecond=0), "2026-11-21T12:00:00.000Z"),
        (datetime(2026, 11, 21, 1, tzinfo=timezone(timedelta(hours=5, minutes=45))), "2026-11-20T19:15:00.000Z"),
        (datetime(1, 1, 1, tzinfo=UTC), "0001-01-01T00:00:00.000Z"),
    ],
)
def test_observed_at_is_the_events_time(moment: datetime, written: str) -> None:
    """In UTC with milliseconds; the time of sending is elsewhere."""
    request = sent(PostHog(KEY, now=lambda: NOON), UserTraits("u1", name="Ann", observed_at=moment))

    body = orjson.loads(request.body or b"")
    assert body["batch"][0]["timestamp"] == written
    assert body["sent_at"] == "2026-11-21T12:00:00.123Z"


def test_the_same_user_again_is_another_event() -> None:
    """With random ids: PostHog drops what it has seen, so a, b and a again would stay b."""
    backend = PostHog(KEY)

    uuids = [orjson.loads(sent(backend, ANN).body or b"")["batch"][0]["uuid"] for _ in range(2)]

    assert uuids[0] != uuids[1]
    assert {UUID(uuid).version for uuid in uuids} == {4}


@pytest.mark.parametrize(
    "user",
    [UserTraits("u1"), UserTraits("u1", observed_at=NOON), UserTraits("u1", traits={"plan": None, "company": {}})],
)
def test_a_user_without_data_is_skipped(user: UserTraits) -> None:
    """As in PostHog's own SDK."""
    transport = ScriptedTransport()

    outcome = transport.run(PostHog(KEY).identify(user))

    assert outcome == Skipped("posthog", SkipReason.NOTHING_TO_SEND)
    assert PostHog(KEY).plan(user) == Plan("posthog", None)
    assert transport.requests == []


@pytest.mark.parametrize(
    ("base_url", "url"),
    [
        (None, "https://us.i.posthog.com"),
        ("https://eu.i.posthog.com/", "https://eu.i.posthog.com"),
        ("http://localhost:8000/ph", "http://localhost:8000/ph"),
    ],
)
def test_the_url_depends_on_the_region(base_url: str | None, url: str) -> None:
    """Or on the self-hosted server."""
    assert planned(PostHog(KEY, base_url=base_url), ANN).url == f"{url}/batch/"
    assert planned(PostHog(KEY, base_url=base_url, capture="v1"), ANN).url == f"{url}/i/v1/analytics/events"


@pytest.mark.parametrize(
    ("key", "options", "setting"),
    [
        ("", {}, "api_key"),
        (None, {}, "api_key"),
        ("phc_s3cret\n", {}, "api_key"),
        ("phx_s3cret", {}, "api_key"),
        ("phc_s3cret" + "x" * 55, {}, "api_key"),
        ("phc_s3cret", {"base_url": "http://ph.example.com"}, "base_url"),
        ("phc_s3cret", {"base_url": "https://ph.example.com/i/v1/"}, "base_url"),
        ("phc_s3cret", {"base_url": "https://ph.example.com/batch/"}, "base_url"),
        ("phc_s3cret", {"base_url": "https://ph.example.com/i/v0/e", "capture": "v1"}, "base_url"),
        ("phc_s3cret", {"capture": "v2"}, "capture"),
        ("phc_s3cret", {"on_violation": "truncate"}, "on_violation"),
        ("phc_s3cret", {"now": "noon"}, "now"),
        ("phc_s3cret", {"new_id": NOON}, "new_id"),
    ],
)
def test_an_invalid_setting_is_named(key: Any, options: Any, setting: str) -> None:
    """Without its value. A personal key is invalid: PostHog rejects it."""
    with pytest.raises(ConfigurationError) as caught:
        PostHog(key, **options)

    assert caught.value.setting == setting
    assert "s3cret" not in str(caught.value)


def test_the_longest_key_is_accepted() -> None:
    """64 characters, as at PostHog."""
    assert PostHog("phc_" + "x" * 60).api_key.endswith("x")


def test_a_settings_file_creates_a_backend(tmp_path: Path) -> None:
    """It can set everything except the two functions."""
    path = tmp_path / "replay-identity.toml"
    path.write_text(
        '[backends.posthog]\nbase_url = "https://eu.i.posthog.com"\ncapture = "v1"\non_violation = "adapt"\n'
    )

    settings = load_settings(path, {"POSTHOG_API_KEY": KEY})

    assert settings.backends == (PostHog(KEY, base_url="https://eu.i.posthog.com", capture="v1", on_violation="adapt"),)


def test_a_settings_file_cannot_set_a_function(tmp_path: Path) -> None:
    """The error has the setting's path."""
    path = tmp_path / "replay-identity.toml"
    path.write_text(f'[backends.posthog]\napi_key = "{KEY}"\nnow = "noon"\n')

    with pytest.raises(ConfigurationError, match=r"backends\.posthog\.now"):
        load_settings(path, {})


def test_a_backend_is_a_value() -> None:
    """Equal to one with the same settings, whatever generates its ids, and it can be pickled."""
    assert PostHog(KEY, new_id=numbered()) == PostHog(KEY)
    assert pickle.loads(pickle.dumps(PostHog(KEY))) == PostHog(KEY)  # noqa: S301  # Our own.
    assert KEY not in repr(PostHog(KEY))


def test_sends_many_users_and_reads_none() -> None:
    """Reading and deleting need a personal key."""
    backend = PostHog(KEY)

    assert isinstance(backend, SupportsMultiIdentify)
    assert not isinstance(backend, SupportsRead | SupportsDelete)
    assert backend.max_users.maximum == 100
