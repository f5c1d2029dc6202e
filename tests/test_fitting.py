from datetime import date
from typing import Any

import pytest

from replay_identity import Adjustment, ConfigurationError, Fullstory, LogRocket, Violation
from replay_identity.adapters.adaptation import Adaptation
from replay_identity.adapters.limits import Limit, Unit

LIMIT = Limit(maximum=3, unit=Unit.UTF8_BYTES, source="here", read_on=date(2026, 11, 21), rule="size")
LONG = "n" * 200
SHOWN = "n" * 99 + "…"


@pytest.fixture
def strict() -> Adaptation:
    """Give books that refuse."""
    return Adaptation(adapt=False)


@pytest.fixture
def lenient() -> Adaptation:
    """Give books that mend."""
    return Adaptation(adapt=True)


@pytest.mark.parametrize("adapt", [True, False])
def test_what_is_within_the_limit_leaves_no_entry(adapt: bool) -> None:  # noqa: FBT001
    """The books stay empty."""
    adaptation = Adaptation(adapt=adapt)

    adaptation.check("p", "abc", LIMIT)
    assert adaptation.fit_or_drop("p", "abc", LIMIT) == "abc"
    assert adaptation.truncate("p", "aé", LIMIT) == "aé"

    assert (adaptation.adjustments, adaptation.violations) == ([], [])


def test_shortening_cuts_and_says_so(lenient: Adaptation) -> None:
    """A cut is a lossy adjustment."""
    assert lenient.truncate("p", "aéé", LIMIT) == "aé"
    assert lenient.adjustments == [Adjustment("p", "truncated", "size")]
    assert lenient.violations == []


def test_shortening_is_refused_without_leave(strict: Adaptation) -> None:
    """The violation has the limit, the measure and the unit."""
    strict.truncate("p", "aéé", LIMIT)

    assert strict.violations == [Violation("p", "size", 3, 5, "UTF-8 bytes")]
    assert strict.adjustments == []


def test_what_must_be_whole_is_dropped(lenient: Adaptation) -> None:
    """Half an e-mail address is another one."""
    assert lenient.fit_or_drop("p", "abcd", LIMIT) is None
    assert lenient.adjustments == [Adjustment("p", "dropped", "size")]


def test_what_must_be_whole_is_refused_without_leave(strict: Adaptation) -> None:
    """As a cut is."""
    assert strict.fit_or_drop("p", "abcd", LIMIT) is None
    assert strict.violations == [Violation("p", "size", 3, 4, "UTF-8 bytes")]


def test_dropping_is_refused_without_leave(strict: Adaptation, lenient: Adaptation) -> None:
    """The same rule in either book."""
    strict.drop("p", "rule")
    lenient.drop("p", "rule")

    assert (strict.violations, strict.adjustments) == ([Violation("p", "rule")], [])
    assert (lenient.violations, lenient.adjustments) == ([], [Adjustment("p", "dropped", "rule")])


@pytest.mark.parametrize("adapt", [True, False])
def test_some_rules_are_never_mended(adapt: bool) -> None:  # noqa: FBT001
    """An id that is too long, and whatever is refused outright."""
    adaptation = Adaptation(adapt=adapt)

    adaptation.check("user_id", "abcd", LIMIT)
    adaptation.reject("p", "name-collision")

    assert adaptation.violations == [
        Violation("user_id", "size", 3, 4, "UTF-8 bytes"),
        Violation("p", "name-collision"),
    ]


def test_names_in_the_books_are_short_and_on_one_line(lenient: Adaptation) -> None:
    """They come from outside and end in logs."""
    lenient.record(LONG, "renamed", "rule", LONG)
    lenient.record(LONG, "dropped", "rule")
    lenient.record("a\nb", "renamed", "rule", "c\nd")
    lenient.reject("a\nb", "rule")
    lenient.reject_over(LONG, LIMIT, 200)

    assert lenient.adjustments == [
        Adjustment(SHOWN, "renamed", "rule", SHOWN),
        Adjustment(SHOWN, "dropped", "rule"),
        Adjustment("a\\u000ab", "renamed", "rule", "c\\u000ad"),
    ]
    assert [violation.path for violation in lenient.violations] == ["a\\u000ab", SHOWN]


@pytest.mark.parametrize(("vendor", "key"), [(Fullstory, "key"), (LogRocket, "org:app:key")])
def test_on_violation_is_one_of_two(vendor: Any, key: str) -> None:
    """Anything else is refused by the setting's name."""
    with pytest.raises(ConfigurationError, match=r'^on_violation: expected "reject" or "adapt"$'):
        vendor(key, on_violation="truncate")
    assert vendor(key, on_violation="adapt").on_violation == "adapt"
