import copy
import pickle
import traceback
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay_identity import (
    ConfigurationError,
    IdentifyError,
    InvalidTraitsError,
    LedgerError,
    ReplayIdentityError,
    UserTraits,
)
from replay_identity.errors import MAX_SHOWN, NotAcceptedError, SourceError, printable, shown_source

ALL: list[tuple[ReplayIdentityError, str]] = [
    (ConfigurationError("api_key", "is missing", "set IT"), "api_key: is missing; set IT"),
    (ConfigurationError("api_key", "is missing"), "api_key: is missing"),
    (InvalidTraitsError("traits.a", "expected a finite number"), "traits.a: expected a finite number"),
    (LedgerError("our.db", "the disk is full", "free some space"), "our.db: the disk is full; free some space"),
    (SourceError("users.csv", "is not UTF-8"), "users.csv: is not UTF-8"),
    (NotAcceptedError("fullstory", "Unavailable", "HTTP 503"), "fullstory: Unavailable: HTTP 503"),
]


@pytest.mark.parametrize(("error", "text"), ALL)
def test_an_error_begins_with_the_setting(error: ReplayIdentityError, text: str) -> None:
    """The text names the setting first, then the problem."""
    assert str(error) == text


@pytest.mark.parametrize(("error", "text"), ALL)
def test_an_error_survives_pickling(error: ReplayIdentityError, text: str) -> None:
    """A process pool returns the same error with its fields, even if it was raised from another."""
    with pytest.raises(ReplayIdentityError) as caught:
        raise copy.copy(error) from ValueError("the cause")

    again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301

    assert type(again) is type(error)
    assert repr(again) == repr(error)
    assert str(again) == text


@pytest.mark.parametrize(("error", "text"), ALL)
def test_an_error_is_a_replay_identity_error(error: ReplayIdentityError, text: str) -> None:
    """One except clause catches all of them, and notes can be added."""
    with pytest.raises(ReplayIdentityError) as caught:
        raise error.with_traceback(None)
    caught.value.add_note("seen")

    assert text in "".join(traceback.format_exception(caught.value))


def test_an_error_about_a_value_has_no_cause() -> None:
    """The cause would quote the value."""
    user_id = "can" + "ary\ud800"

    with pytest.raises(InvalidTraitsError) as caught:
        UserTraits(user_id)

    assert caught.value.__cause__ is None
    assert user_id[:-1] not in "".join(traceback.format_exception(caught.value))


def group() -> IdentifyError:
    """Return the error of two backends that did not accept a user."""
    return IdentifyError(
        "not every required backend accepted the user",
        [NotAcceptedError("fullstory", "Unavailable", "HTTP 503"), NotAcceptedError("logrocket", "Rejected", "no")],
    )


def test_a_group_is_caught_by_except_star() -> None:
    """Each backend's error can be handled on its own."""
    caught: list[str] = []

    try:
        raise group()
    except* NotAcceptedError as part:
        caught.extend(error.backend for error in part.exceptions if isinstance(error, NotAcceptedError))

    assert caught == ["fullstory", "logrocket"]


def test_a_group_splits_into_identify_errors() -> None:
    """The part that `except*` does not catch is raised as an IdentifyError."""

    def is_fullstory(error: Exception) -> bool:
        return isinstance(error, NotAcceptedError) and error.backend == "fullstory"

    caught, rest = group().split(is_fullstory)

    assert rest is not None
    assert type(caught) is type(rest) is IdentifyError
    assert [str(error) for error in rest.exceptions] == ["logrocket: Rejected: no"]


def test_a_group_is_a_replay_identity_error() -> None:
    """One except clause catches it, too."""
    with pytest.raises(ReplayIdentityError):
        raise group()


def test_a_group_survives_pickling() -> None:
    """The members survive, too."""
    again: Any = pickle.loads(pickle.dumps(group()))  # noqa: S301

    assert type(again) is IdentifyError
    assert repr(again) == repr(group())


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("plan", "plan"),
        ("größe", "größe"),
        ("a\nb", "a\\u000ab"),
        ("a" * MAX_SHOWN, "a" * MAX_SHOWN),
        ("a" * (MAX_SHOWN + 1), "a" * (MAX_SHOWN - 1) + "…"),
    ],
)
def test_shows_names_short_and_on_one_line(name: str, shown: str) -> None:
    """A trait's name cannot forge a line of a log."""
    assert printable(name) == shown


@given(name=st.text())
def test_any_name_can_be_shown(name: str) -> None:
    """This includes surrogates."""
    shown = printable(name)

    assert len(shown) <= MAX_SHOWN
    assert shown.isprintable()


SECRET = "canary7Q"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("https://host/a.csv", "https://host/a.csv"),
        ("https://host", "https://host"),
        ("https://host:8080/a@b.csv", "https://…"),
        (f"https://host/a.csv?key={SECRET}", "https://host/a.csv"),
        (f"https://host/a.csv#{SECRET}", "https://host/a.csv"),
        (f"https://host?{SECRET}/a@b", "https://…"),
        (f"https://user:{SECRET}@host:8080/a.csv", "https://host:8080/a.csv"),
        (f"https://{SECRET}@host/a.csv", "https://host/a.csv"),
        (f"https://user:a@{SECRET}@host/a.csv", "https://host/a.csv"),
        (f"https://user:a/{SECRET}@host/a.csv", "https://…"),
        (f"https://user:1?{SECRET}@host/a.csv", "https://…"),
        (f"https://token/{SECRET}@host/a.csv", "https://…"),
        (f"https://user:{SECRET}", "https://…"),
        (f"zip://a.csv::https://user:{SECRET}@host/a.zip", "zip://…"),
        ("s3://bucket/a@b.csv", "s3://bucket/a@b.csv"),
        ("s3://bucket/a\n.csv", "s3://bucket/a\\u000a.csv"),
        ("https://[::1]:80/a.csv", "https://[::1]:80/a.csv"),
        ("postgresql:///app", "postgresql:///app"),
        (f"postgresql://u:{SECRET}@h1:5432,h2:5432/app?sslmode=require", "postgresql://h1:5432,h2:5432/app"),
        (f"postgresql://u:ge#{SECRET}@host/app", "postgresql://…"),
        (f"postgresql://u:ge/{SECRET}@/app?host=x", "postgresql://…"),
        (f"postgresql://app:{SECRET}@[h/x", "postgresql://…"),
        (f"https:/user:{SECRET}@host/a.csv", "…"),
        (f"postgresql:user:{SECRET}@host", "…"),
        (f"postgres//user:{SECRET}@host", "…"),
        (f"postgres//{SECRET}@host", "…"),
        (f"user:{SECRET}@host/a.csv", "…"),
        (f"jdbc:postgresql://host/app?password={SECRET}", "…"),
        (f"https:\\\\user:{SECRET}@host\\a.csv", "…"),
        (f" https://user:{SECRET}@host/a.csv", "…"),
        (f"https/host/a.csv?key={SECRET}", "…"),
        (f"host=db PASSWORD = {SECRET}", "…"),
        ("C:/data/users.csv", "C:/data/users.csv"),
        ("users-?.csv", "users-?.csv"),
        ("country=DE/users@host.csv", "country=DE/users@host.csv"),
        ("users.zip: a@b.csv", "users.zip: a@b.csv"),
    ],
)
def test_a_shown_source_has_no_secrets(name: str, shown: str) -> None:
    """Where a password may have characters that a URL must not have, nothing is shown."""
    assert shown_source(name) == shown
    assert SourceError(name, "is empty").source == shown


@given(
    st.sampled_from(["https://", "postgresql://", "https:/", "postgres:", "postgres//", "//", ""]),
    st.sampled_from(["", "/x.csv", "?x=1", "/app?x=1#y"]),
    st.text("aZ1:/?#@%[]&= ", max_size=8).map(str.strip),
)
def test_a_password_is_never_shown(beginning: str, end: str, password: str) -> None:
    """Whatever its characters, and however the URL is mistyped."""
    name = f"{beginning}user:{password}{SECRET}@host{end}"

    assert SECRET not in shown_source(name)
    assert shown_source(shown_source(name)) == shown_source(name)
