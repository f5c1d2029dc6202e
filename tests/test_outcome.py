from itertools import product
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay_identity import (
    Accepted,
    Adjustment,
    Broken,
    ConfigurationError,
    IdentifyError,
    IdentifyReport,
    Misconfigured,
    Outcome,
    Rejected,
    Skipped,
    Unavailable,
    Unknown,
    Violation,
)
from replay_identity.errors import NotAcceptedError
from replay_identity.outcomes import LOSSY_KINDS, AdjustmentKind, SkipReason, explain, is_settled, lossy_adjustments

ONE_OF_EACH: list[Outcome] = [
    Accepted("a"),
    Skipped("a", SkipReason.FILTERED),
    Rejected("a", code="required_field", message="uid is required"),
    Misconfigured("a", "HTTP 401"),
    Unavailable("a", "HTTP 503"),
    Unknown("a", "no response in time"),
    Broken("a", "KeyError at words.py:3"),
]
TOOK, DOWN, LOST = (
    Accepted("fullstory", "7"),
    Unavailable("logrocket", "HTTP 503"),
    Unknown("third", "no response in time"),
)


@pytest.mark.parametrize("kind", get_args(AdjustmentKind))
def test_some_adjustments_lose_something(kind: Any) -> None:
    """Truncating, dropping and renaming do; the others do not."""
    assert Adjustment("traits.a", kind, "rule").lossy == (kind in {"truncated", "dropped", "renamed"})
    assert set(get_args(AdjustmentKind)) >= LOSSY_KINDS


@pytest.mark.parametrize(
    ("outcome", "text"),
    [
        (Accepted("a"), "accepted"),
        (Accepted("a", adjustments=(Adjustment("traits.x", "coerced", "r"),)), "accepted, 1 adjusted"),
        (
            Accepted("a", adjustments=(Adjustment("x", "coerced", "r"), Adjustment("y", "dropped", "r"))),
            "accepted, 2 adjusted, 1 with loss",
        ),
        (Skipped("a", SkipReason.NOTHING_TO_SEND), "nothing to send"),
        (Rejected("a", (Violation("user_id", "dot-segment"),)), "user_id breaks dot-segment"),
        (
            Rejected("a", (Violation("email", "email-length", 128, 200, "characters"), Violation("b", "r"))),
            "email breaks email-length (200 characters, at most 128); b breaks r",
        ),
        (Rejected("a", code="required_field", message="uid is required"), "required_field: uid is required"),
        (Rejected("a", code="HTTP 413"), "HTTP 413"),
        (Misconfigured("a", "HTTP 401", "Check the API key."), "HTTP 401. Check the API key."),
        (Misconfigured("a", "HTTP 401"), "HTTP 401"),
        (Unavailable("a", "HTTP 503"), "HTTP 503"),
        (Unavailable("a", "HTTP 429", 30.0), "HTTP 429; retry after 30 s"),
        (Unknown("a", "no response in time"), "no response in time"),
        (Broken("a", "KeyError at words.py:3"), "the adapter failed: KeyError at words.py:3"),
    ],
)
def test_every_outcome_can_be_told_in_one_line(outcome: Outcome, text: str) -> None:
    """A person reads what to do."""
    assert explain(outcome) == text


@pytest.mark.parametrize("outcome", ONE_OF_EACH)
def test_only_what_later_may_work_is_retryable(outcome: Outcome) -> None:
    """That is Unavailable, and Unknown."""
    assert outcome.retryable == isinstance(outcome, Unavailable | Unknown)


def test_an_unknown_can_be_not_retryable() -> None:
    """Where sending again could make a second user."""
    assert IdentifyReport((Unknown("a", "no answer", retryable=False),)).retryable == frozenset()


@pytest.mark.parametrize("outcome", ONE_OF_EACH)
def test_settled_is_what_needs_nothing_more(outcome: Outcome) -> None:
    """The vendor took it, or there was nothing to send."""
    assert is_settled(outcome) == isinstance(outcome, Accepted | Skipped)


def test_the_vendors_id_is_not_in_the_repr() -> None:
    """An id is a person's."""
    assert "7449164135934483470" not in repr(Accepted("fullstory", "7449164135934483470"))


@pytest.mark.parametrize(
    ("outcomes", "status"),
    [
        ([], "ok"),
        ([TOOK], "ok"),
        ([TOOK, Skipped("b", SkipReason.NOTHING_TO_SEND)], "ok"),
        ([Skipped("b", SkipReason.NOTHING_TO_SEND)], "ok"),
        ([TOOK, DOWN], "partial"),
        ([DOWN, TOOK], "partial"),
        ([Skipped("b", SkipReason.NOTHING_TO_SEND), DOWN], "failed"),
        ([DOWN, LOST], "failed"),
    ],
)
def test_the_worst_outcome_is_the_status(outcomes: list[Outcome], status: str) -> None:
    """Partial means that one vendor has the user and another has not."""
    assert IdentifyReport(tuple(outcomes)).status == status


@given(outcomes=st.permutations(ONE_OF_EACH))
def test_the_status_does_not_depend_on_the_order(outcomes: list[Outcome]) -> None:
    """Neither does what is retryable."""
    report = IdentifyReport(tuple(outcomes))

    assert report.status == "partial"
    assert report.retryable == {"a"}


def test_outcomes_are_found_by_name() -> None:
    """Their order stays."""
    report = IdentifyReport((TOOK, DOWN))

    assert report["logrocket"] == DOWN
    assert list(report.by_backend) == ["fullstory", "logrocket"]
    with pytest.raises(KeyError):
        report["other"]


def test_a_later_report_takes_the_place_of_what_it_covers() -> None:
    """The order stays, and what was not asked again stays too."""
    later = IdentifyReport((Accepted("third"), Unavailable("logrocket", "HTTP 500")))

    merged = IdentifyReport((TOOK, DOWN, LOST)).merge(later)

    assert merged.outcomes == (TOOK, Unavailable("logrocket", "HTTP 500"), Accepted("third"))


@pytest.mark.parametrize("require", ["all", "any", {"fullstory"}, {"fullstory", "logrocket"}, set[str](), "logrocket"])
def test_nothing_is_raised_when_all_took_the_user(require: Any) -> None:
    """Whatever is required."""
    IdentifyReport((TOOK, Skipped("logrocket", SkipReason.NOTHING_TO_SEND))).raise_for_status(require)


@pytest.mark.parametrize(
    ("require", "missing"),
    [
        ("all", ["logrocket", "third"]),
        ({"logrocket"}, ["logrocket"]),
        ("third", ["third"]),
        ({"fullstory", "third"}, ["third"]),
        (frozenset({"logrocket", "third"}), ["logrocket", "third"]),
    ],
)
def test_what_is_missing_of_the_required_is_raised(require: Any, missing: list[str]) -> None:
    """One error per backend, in configured order."""
    with pytest.raises(IdentifyError) as caught:
        IdentifyReport((TOOK, DOWN, LOST)).raise_for_status(require)

    errors = [error for error in caught.value.exceptions if isinstance(error, NotAcceptedError)]
    assert [error.backend for error in errors] == missing


def test_the_error_says_what_became_of_the_user() -> None:
    """By the name of the outcome and in one line."""
    with pytest.raises(IdentifyError) as caught:
        IdentifyReport((DOWN,)).raise_for_status()

    assert [str(error) for error in caught.value.exceptions] == ["logrocket: Unavailable: HTTP 503"]


def test_any_is_satisfied_by_one() -> None:
    """However many others failed."""
    IdentifyReport((DOWN, TOOK, LOST)).raise_for_status("any")


def test_any_raises_all_when_none_is_settled() -> None:
    """Then every backend is missing."""
    with pytest.raises(IdentifyError) as caught:
        IdentifyReport((DOWN, LOST)).raise_for_status("any")

    assert len(caught.value.exceptions) == 2


@pytest.mark.parametrize(("require", "named"), [({"fulstory"}, "fulstory"), ("b", "b"), ({"y", "x", "third"}, "x, y")])
def test_a_backend_that_was_not_asked_cannot_be_required(require: Any, named: str) -> None:
    """A typing error must not pass for success."""
    with pytest.raises(ConfigurationError, match=f"^require: no backend is named {named}$"):
        IdentifyReport((TOOK, LOST)).raise_for_status(require)


@pytest.mark.parametrize(("first", "second"), list(product(ONE_OF_EACH, repeat=2)))
def test_raise_for_status_agrees_with_the_status(first: Outcome, second: Outcome) -> None:
    """It raises exactly when the status is not ok."""
    report = IdentifyReport((first, second))

    try:
        report.raise_for_status()
    except IdentifyError:
        assert report.status != "ok"
    else:
        assert report.status == "ok"


@given(st.lists(st.builds(Adjustment, st.just("name"), st.sampled_from(get_args(AdjustmentKind)), st.just("rule"))))
def test_the_lossy_adjustments_are_those_that_say_so(adjustments: list[Adjustment]) -> None:
    """In their order, and no others."""
    assert lossy_adjustments(adjustments) == tuple(one for one in adjustments if one.lossy)
