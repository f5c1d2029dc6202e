import json
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
ACCEPTED, UNAVAILABLE, UNKNOWN = (
    Accepted("fullstory", "7"),
    Unavailable("logrocket", "HTTP 503"),
    Unknown("third", "no response in time"),
)


@pytest.mark.parametrize("kind", get_args(AdjustmentKind))
def test_three_kinds_of_adjustments_are_lossy(kind: Any) -> None:
    """Truncating, dropping and renaming."""
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
        (Rejected("a", (Violation("user_id", "dot-segment"),)), "user_id breaks the rule dot-segment"),
        (
            Rejected("a", (Violation("email", "email-length", 128, 200, "characters"), Violation("b", "r"))),
            "email breaks the rule email-length (200 characters, at most 128); b breaks the rule r",
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
def test_explains_every_outcome_in_one_line(outcome: Outcome, text: str) -> None:
    """The text is for people."""
    assert explain(outcome) == text


@pytest.mark.parametrize("outcome", ONE_OF_EACH)
def test_unavailable_and_unknown_are_retryable(outcome: Outcome) -> None:
    """The other outcomes are not."""
    assert outcome.retryable == isinstance(outcome, Unavailable | Unknown)


def test_an_unknown_may_be_final() -> None:
    """Sending again could create a second user."""
    assert IdentifyReport((Unknown("a", "no answer", retryable=False),)).retryable == frozenset()


@pytest.mark.parametrize("outcome", ONE_OF_EACH)
def test_accepted_and_skipped_are_settled(outcome: Outcome) -> None:
    """The other outcomes are not."""
    assert is_settled(outcome) == isinstance(outcome, Accepted | Skipped)


def test_repr_hides_the_vendors_id() -> None:
    """An id is personal data."""
    assert "7449164135934483470" not in repr(Accepted("fullstory", "7449164135934483470"))


@pytest.mark.parametrize(
    ("outcomes", "status"),
    [
        ([], "ok"),
        ([ACCEPTED], "ok"),
        ([ACCEPTED, Skipped("b", SkipReason.NOTHING_TO_SEND)], "ok"),
        ([Skipped("b", SkipReason.NOTHING_TO_SEND)], "ok"),
        ([ACCEPTED, UNAVAILABLE], "partial"),
        ([UNAVAILABLE, ACCEPTED], "partial"),
        ([Skipped("b", SkipReason.NOTHING_TO_SEND), UNAVAILABLE], "failed"),
        ([UNAVAILABLE, UNKNOWN], "failed"),
    ],
)
def test_the_status_depends_on_all_outcomes(outcomes: list[Outcome], status: str) -> None:
    """Partial means that one vendor has the user and another does not."""
    assert IdentifyReport(tuple(outcomes)).status == status


@given(outcomes=st.permutations(ONE_OF_EACH))
def test_the_order_does_not_matter(outcomes: list[Outcome]) -> None:
    """It changes neither the status nor what is retryable."""
    report = IdentifyReport(tuple(outcomes))

    assert report.status == "partial"
    assert report.retryable == {"a"}


def test_finds_outcomes_by_name() -> None:
    """The names are in configured order."""
    report = IdentifyReport((ACCEPTED, UNAVAILABLE))

    assert report["logrocket"] == UNAVAILABLE
    assert list(report.by_backend) == ["fullstory", "logrocket"]
    with pytest.raises(KeyError):
        report["other"]


def test_merging_replaces_the_same_backends() -> None:
    """The order and the other outcomes stay."""
    later = IdentifyReport((Accepted("third"), Unavailable("logrocket", "HTTP 500")))

    merged = IdentifyReport((ACCEPTED, UNAVAILABLE, UNKNOWN)).merge(later)

    assert merged.outcomes == (ACCEPTED, Unavailable("logrocket", "HTTP 500"), Accepted("third"))


@pytest.mark.parametrize("require", ["all", "any", {"fullstory"}, {"fullstory", "logrocket"}, set[str](), "logrocket"])
def test_raises_nothing_when_all_are_settled(require: Any) -> None:
    """It does not matter which backends are required."""
    IdentifyReport((ACCEPTED, Skipped("logrocket", SkipReason.NOTHING_TO_SEND))).raise_for_status(require)


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
def test_raises_an_error_per_unsettled_backend(require: Any, missing: list[str]) -> None:
    """Only required backends count, in configured order."""
    with pytest.raises(IdentifyError) as caught:
        IdentifyReport((ACCEPTED, UNAVAILABLE, UNKNOWN)).raise_for_status(require)

    errors = [error for error in caught.value.exceptions if isinstance(error, NotAcceptedError)]
    assert [error.backend for error in errors] == missing


def test_the_error_explains_the_outcome() -> None:
    """Its text contains the outcome's name."""
    with pytest.raises(IdentifyError) as caught:
        IdentifyReport((UNAVAILABLE,)).raise_for_status()

    assert [str(error) for error in caught.value.exceptions] == ["logrocket: Unavailable: HTTP 503"]


def test_any_requires_one_settled_backend() -> None:
    """Any number of others may have failed."""
    IdentifyReport((UNAVAILABLE, ACCEPTED, UNKNOWN)).raise_for_status("any")


def test_any_raises_all_if_none_is_settled() -> None:
    """There is one error per backend."""
    with pytest.raises(IdentifyError) as caught:
        IdentifyReport((UNAVAILABLE, UNKNOWN)).raise_for_status("any")

    assert len(caught.value.exceptions) == 2


@pytest.mark.parametrize(("require", "named"), [({"fulstory"}, "fulstory"), ("b", "b"), ({"y", "x", "third"}, "x, y")])
def test_rejects_an_unknown_required_backend(require: Any, named: str) -> None:
    """A typing error must not pass as success."""
    with pytest.raises(ConfigurationError, match=f"^require: no backend is named {named}$"):
        IdentifyReport((ACCEPTED, UNKNOWN)).raise_for_status(require)


@pytest.mark.parametrize(("first", "second"), list(product(ONE_OF_EACH, repeat=2)))
def test_raise_for_status_agrees_with_the_status(first: Outcome, second: Outcome) -> None:
    """It raises exactly if the status is not ok."""
    report = IdentifyReport((first, second))

    try:
        report.raise_for_status()
    except IdentifyError:
        assert report.status != "ok"
    else:
        assert report.status == "ok"


@given(st.lists(st.builds(Adjustment, st.just("name"), st.sampled_from(get_args(AdjustmentKind)), st.just("rule"))))
def test_selects_lossy_adjustments(adjustments: list[Adjustment]) -> None:
    """Their order is kept."""
    assert lossy_adjustments(adjustments) == tuple(adjustment for adjustment in adjustments if adjustment.lossy)


@pytest.mark.parametrize("outcome", ONE_OF_EACH)
def test_as_dict_is_ready_for_json(outcome: Outcome) -> None:
    """It has the outcome's name and explanation, and survives a round trip."""
    report = IdentifyReport((outcome,)).as_dict()

    (content,) = report["outcomes"]
    assert report == json.loads(json.dumps(report))
    assert content["outcome"] == type(outcome).__name__
    assert content["explanation"] == explain(outcome)
    assert content["retryable"] == outcome.retryable


def test_as_dict_has_the_outcomes_fields() -> None:
    """Nested values become lists and dicts, and the vendor's id is left out."""
    adjustment = Adjustment("traits.x", "renamed", "rule", "y")
    accepted = Accepted("fullstory", "7449164135934483470", (adjustment,))

    report = IdentifyReport((accepted, UNAVAILABLE)).as_dict()

    assert report["status"] == "partial"
    assert report["outcomes"][0] == {
        "backend": "fullstory",
        "outcome": "Accepted",
        "explanation": "accepted, 1 adjusted, 1 with loss",
        "retryable": False,
        "adjustments": [{"path": "traits.x", "kind": "renamed", "rule": "rule", "sent_as": "y"}],
        "verified": False,
        "request_id": None,
    }


def test_as_dict_shows_a_skip_reason_as_text() -> None:
    """A plain string, not an enum."""
    report = IdentifyReport((Skipped("fullstory", SkipReason.FILTERED),)).as_dict()

    assert type(report["outcomes"][0]["reason"]) is str
