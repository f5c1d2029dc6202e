"""No value, id or key is shown by an error, a repr, a traceback, a note, a pickle or a log."""

import base64
import html
import json
import logging
import pickle
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import attrs
import orjson
import pytest
from support.exchanges import run

from replay_identity import (
    ConfigurationError,
    Fullstory,
    IdentifyError,
    IdentifyReport,
    InvalidTraitsError,
    LogRocket,
    Outcome,
    ReplayIdentityError,
    Route,
    UserTraits,
)
from replay_identity.adapters import IdentityBackend, NoResponse, Response
from replay_identity.fullstory.adapter import UserFilter
from replay_identity.outcomes import explain

USER_ID, NAME, EMAIL = "canary-id-4711", "Canary O'Name <&>", "canary-mail@example.com"
SECRET = "canarysecret"
FULLSTORY_KEY, LOGROCKET_KEY = f"na1.{SECRET}", f"acme:shop:{SECRET}"
TRAITS: dict[str, Any] = {
    "plan": "canary-plan-größe",
    "company": {"tax": "canary-tax", "seats": 918273},
    "tags": ["canary-tag-1", "canary-tag-2"],
    "spent": Decimal("77123.45"),
    "rate": 0.0123456789,
    "since": datetime(2019, 2, 3, 4, 5, 6, tzinfo=UTC),
}
VALUES = ("918273", "77123.45", "0.0123456789", "2019-02-03")
VENDOR_ID = "canary-vendor-id-99"
SURROGATE = "canary-broken-" + "\ud800"
USER = UserTraits(USER_ID, name=NAME, email=EMAIL, traits=TRAITS, vendor_ids={"fullstory": VENDOR_ID})


def assert_silent(*shown: str) -> None:
    """Assert that *shown* contains nothing of the user or of a key, in any case or encoding."""
    for text in shown:
        assert "canary" not in text.lower()
        assert [value for value in VALUES if value in text] == []


def everything_shown_by(error: BaseException) -> list[str]:
    """Return every text of an exception, including those of its causes."""
    texts = [str(error), repr(error), "".join(traceback.format_exception(error)), *getattr(error, "__notes__", [])]
    return [*texts, pickle.dumps(error).decode("latin-1")]


@pytest.fixture(autouse=True)
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Capture every log record."""
    caplog.set_level(logging.DEBUG)
    return caplog


def cyclic() -> dict[str, Any]:
    """Return a mapping that contains itself."""
    cycle: dict[str, Any] = {"plan": "canary"}
    cycle["again"] = cycle
    return cycle


def deep() -> dict[str, Any]:
    """Return a mapping that is nested too deeply."""
    nested: dict[str, Any] = {"plan": "canary"}
    for _ in range(40):
        nested = {"in": nested}
    return nested


BAD_USERS: dict[str, Callable[[], object]] = {
    "an int id": lambda: UserTraits(918273),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    "a bytes id": lambda: UserTraits(USER_ID.encode()),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    "a broken id": lambda: UserTraits(SURROGATE),
    "a broken name": lambda: UserTraits("u", name=SURROGATE),
    "a broken e-mail address": lambda: UserTraits("u", email=SURROGATE),
    "a list for a name": lambda: UserTraits("u", name=[NAME]),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    "a broken trait": lambda: UserTraits("u", traits={"plan": SURROGATE}),
    "a broken trait in a list": lambda: UserTraits("u", traits={"plan": ["canary", {"deep": SURROGATE}]}),
    "NaN": lambda: UserTraits("u", traits={"plan": "canary", "n": float("nan")}),
    "a NaN with digits": lambda: UserTraits("u", traits={"n": Decimal("NaN918273")}),
    "a huge int": lambda: UserTraits("u", traits={"n": 918273 * 10**400}),
    "a huge decimal": lambda: UserTraits("u", traits={"n": Decimal("77123.45e500")}),
    "a naive datetime": lambda: UserTraits("u", traits={"n": TRAITS["since"].replace(tzinfo=None)}),
    "a naive observation": lambda: UserTraits("u", observed_at=TRAITS["since"].replace(tzinfo=None)),
    "a string for an observation": lambda: UserTraits("u", observed_at="canary"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    "a cycle": lambda: UserTraits("u", traits=cyclic()),
    "a deep trait": lambda: UserTraits("u", traits=deep()),
    "a set": lambda: UserTraits("u", traits={"plan": {"canary"}}),  # type: ignore[dict-item]  # pyright: ignore[reportArgumentType]
    "an object": lambda: UserTraits("u", traits={"plan": USER}),  # type: ignore[dict-item]  # pyright: ignore[reportArgumentType]
    "bytes": lambda: UserTraits("u", traits={"plan": b"canary"}),  # type: ignore[dict-item]  # pyright: ignore[reportArgumentType]
    "None in a list": lambda: UserTraits("u", traits={"plan": ["canary", None]}),
    "a list for traits": lambda: UserTraits("u", traits=["canary"]),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    "an unknown type": lambda: UserTraits("u", types={"plan": "canary"}),  # type: ignore[dict-item]  # pyright: ignore[reportArgumentType]
    "a broken vendor id": lambda: UserTraits("u", vendor_ids={"fullstory": SURROGATE}),
    "a number for a vendor id": lambda: UserTraits("u", vendor_ids={"fullstory": 918273}),  # type: ignore[dict-item]  # pyright: ignore[reportArgumentType]
    "a row with an int id": lambda: UserTraits.from_mapping({"id": 918273, "email": EMAIL}),
    "a row that is a list": lambda: UserTraits.from_mapping([EMAIL]),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
}


@pytest.mark.parametrize("case", BAD_USERS)
def test_an_error_about_a_user_quotes_nothing(case: str, log: pytest.LogCaptureFixture) -> None:
    """It names the path and nothing else."""
    with pytest.raises(InvalidTraitsError) as caught:
        BAD_USERS[case]()

    # The traceback shows the test's own lines, so the bad value must not be on one of them.
    texts = [text for text in everything_shown_by(caught.value.with_traceback(None)) if text]
    assert_silent(*texts, log.text)


BAD_SETTINGS: dict[str, Callable[[], object]] = {
    "a key with a newline": lambda: Fullstory(f"{FULLSTORY_KEY}\n"),
    "a key with a scheme": lambda: Fullstory(f"Basic {FULLSTORY_KEY}"),
    "a key with a surrogate": lambda: LogRocket(f"{LOGROCKET_KEY}\ud800"),
    "a key of another form": lambda: LogRocket(SECRET),
    "a key of four parts": lambda: LogRocket(f"{LOGROCKET_KEY}:{SECRET}"),
    "a key of bytes": lambda: Fullstory(FULLSTORY_KEY.encode()),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    "plain http": lambda: Fullstory(FULLSTORY_KEY, base_url="http://canary.example.com"),
    "a password in the URL": lambda: LogRocket(LOGROCKET_KEY, base_url=f"https://me:{SECRET}@example.com"),
    "an invalid URL": lambda: LogRocket(LOGROCKET_KEY, base_url=f"https://[{SECRET}"),
    "an invalid port": lambda: Fullstory(FULLSTORY_KEY, base_url=f"https://example.com:{SECRET}"),
    "an invalid source": lambda: Fullstory(FULLSTORY_KEY, integration_source=f"{SECRET}\r\n"),
    "an invalid on_violation": lambda: Fullstory(FULLSTORY_KEY, on_violation=SECRET),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
}


@pytest.mark.parametrize("case", BAD_SETTINGS)
def test_an_error_about_a_setting_quotes_nothing(case: str, log: pytest.LogCaptureFixture) -> None:
    """It names the setting and nothing else."""
    with pytest.raises(ConfigurationError) as caught:
        BAD_SETTINGS[case]()

    assert_silent(*everything_shown_by(caught.value.with_traceback(None)), log.text)


FULL, ROCKET = Fullstory(FULLSTORY_KEY), LogRocket(LOGROCKET_KEY)
BAD_REQUESTS: dict[str, Callable[[], Any]] = {
    "get": lambda: FULL.get(SURROGATE),
    "get by id": lambda: FULL.get_by_id(SURROGATE),
    "delete": lambda: FULL.delete(SURROGATE),
    "delete by id": lambda: FULL.delete_by_id(SURROGATE),
    "exclude": lambda: ROCKET.exclude(user_id=SURROGATE),
    "exclude by both": lambda: ROCKET.exclude(user_id=USER_ID, email=EMAIL),
    "list": lambda: FULL.list_page(UserFilter(email=SURROGATE)),
}


@pytest.mark.parametrize("case", BAD_REQUESTS)
def test_an_error_about_a_request_quotes_nothing(case: str) -> None:
    """Ids are validated before they become part of a URL."""
    with pytest.raises(InvalidTraitsError) as caught:
        run(BAD_REQUESTS[case]())

    assert_silent(*everything_shown_by(caught.value.with_traceback(None)))


def quotes() -> list[str]:
    """Return every text that a vendor may quote, in every way it may write it."""
    texts = [
        USER_ID,
        NAME,
        EMAIL,
        FULLSTORY_KEY,
        LOGROCKET_KEY,
        VENDOR_ID,
        TRAITS["plan"],
        "canary-tax",
        "canary-tag-2",
    ]
    plain = [*texts, "918273", "77123.45", "0.0123456789", "2019-02-03T04:05:06Z"]
    written = [quote(text, safe="") for text in plain] + [json.dumps(text) for text in plain]
    cut = [f"{text[:14]}…" for text in plain if len(text) > 14]
    return [*plain, *written, *cut, *map(str.upper, plain), *map(html.escape, plain)]


def all_responses() -> list[Response]:
    """Return responses of every kind that quote as much as they can."""
    quote_all = " | ".join(quotes())
    bodies = [
        orjson.dumps({"code": quote_all, "message": quote_all, "error": quote_all, "detail": quote_all}),
        orjson.dumps({"message": quote_all}),
        orjson.dumps({"id": 7, "name": quote_all, "results": [quote_all]}),
        f"<html>{html.escape(quote_all)}</html>".encode(),
        quote_all.encode(),
        b'{"message": "' + quote_all.encode(),
        b"",
    ]
    statuses = [200, 302, 400, 401, 403, 404, 409, 413, 418, 429, 500, 502, 503, 504]
    headers = {"location": f"https://evil.example/{USER_ID}", "retry-after": EMAIL, "x": FULLSTORY_KEY}
    responses = [Response(status, headers, body) for status in statuses for body in bodies]
    return [
        *responses,
        *(
            Response(0, no_response=no_response, uncertain=uncertain)
            for no_response in NoResponse
            for uncertain in (False, True)
        ),
    ]


BACKENDS: list[IdentityBackend] = [
    attrs.evolve(FULL, on_violation="adapt"),
    attrs.evolve(ROCKET, on_violation="adapt"),
    Route(attrs.evolve(FULL, name="routed", on_violation="adapt"), exclude={"spent"}).backend,
]


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)
def test_no_outcome_quotes_what_was_sent(backend: IdentityBackend, log: pytest.LogCaptureFixture) -> None:
    """The report and its error quote nothing either, whatever the vendor responds."""
    key = FULLSTORY_KEY if isinstance(backend, Fullstory) else LOGROCKET_KEY
    other = LOGROCKET_KEY if key == FULLSTORY_KEY else FULLSTORY_KEY
    for response in all_responses():
        own = attrs.evolve(
            response, body=response.body.replace(quote(other, safe="").encode(), b"").replace(other.encode(), b"")
        )
        own = attrs.evolve(own, body=own.body.replace(other.upper().encode(), b"").replace(other[:14].encode(), b""))

        outcome, requests = run(backend.identify(USER), own)

        assert_outcome_is_silent(outcome)
        assert_silent(repr(own), *map(repr, requests), log.text)


def assert_outcome_is_silent(outcome: Outcome) -> None:
    """Assert that no text of an outcome, or of the error made from it, contains a value."""
    report = IdentifyReport((outcome,))
    assert_silent(repr(outcome), explain(outcome), repr(report), pickle.dumps(report).decode("latin-1"))
    try:
        report.raise_for_status()
    except IdentifyError as error:
        assert_silent(*everything_shown_by(error))


def test_no_other_request_quotes_what_was_sent() -> None:
    """Reading, deleting, verifying and excluding."""
    for response in all_responses():
        about_user = (
            attrs.evolve(response, body=USER_ID.encode() + b" and " + FULLSTORY_KEY.encode())
            if response.no_response is None
            else response
        )
        exchanges: list[Any] = [
            FULL.get(USER_ID),
            FULL.get_by_id(USER_ID),
            FULL.delete(USER_ID),
            FULL.delete_by_id(USER_ID),
            FULL.verify(),
        ]
        for exchange in exchanges:
            outcome, requests = run(exchange, about_user)
            assert_silent(repr(outcome), *map(repr, requests))
        excluded, _ = run(
            ROCKET.exclude(email=EMAIL),
            Response(response.status, body=f"{EMAIL} {LOGROCKET_KEY}".encode(), no_response=response.no_response),
        )
        assert_silent(repr(excluded))


@pytest.mark.parametrize("user_id", ["..", f"{USER_ID}/../{SECRET}", "canary" * 50, "canary" * 200, USER_ID])
@pytest.mark.parametrize("on_violation", ["reject", "adapt"])
def test_no_plan_shows_what_it_would_send(user_id: str, on_violation: Any, log: pytest.LogCaptureFixture) -> None:
    """Its repr, violations and adjustments contain only paths and rules."""
    large: dict[str, Any] = {
        "plan": "canary" * 2_000_000,
        "tags": ["canary" * 5000],
        "spent": Decimal("77123.45") ** 20,
        "email": "canary" * 300,
    }
    user = UserTraits(user_id, name="canary" * 100, email="canary" * 100, traits={**TRAITS, **large, "a b": "canary"})

    for backend in (attrs.evolve(FULL, on_violation=on_violation), attrs.evolve(ROCKET, on_violation=on_violation)):
        plan = backend.plan(user)
        assert_silent(repr(backend), repr(Route(backend, exclude={"spent"})), repr(user), repr(plan), log.text)
        assert_silent(*map(str, plan.violations))
        if plan.violations:
            assert_outcome_is_silent(run(backend.identify(user))[0])


def test_no_encoded_key_is_shown() -> None:
    """The key is never encoded."""
    encoded = base64.b64encode(FULLSTORY_KEY.encode()).decode()

    plan = FULL.plan(USER)

    assert plan.request is not None
    assert encoded not in repr(plan) + repr(FULL) + str(plan.request.headers)


def test_every_error_is_a_replay_identity_error() -> None:
    """One except clause is enough."""
    assert issubclass(InvalidTraitsError, ReplayIdentityError)
    assert issubclass(ConfigurationError, ReplayIdentityError)
