from datetime import date
from typing import Any

import pytest

from replay_identity import Adjustment, ConfigurationError, Fullstory, LogRocket, Violation
from replay_identity.adapters.adaptation import Fitting
from replay_identity.adapters.limits import Limit, Unit

LIMIT = Limit(maximum=3, unit=Unit.UTF8_BYTES, source="here", read_on=date(2026, 11, 21), rule="size")
LONG = "n" * 200
SHOWN = "n" * 99 + "…"


@pytest.fixture
def strict() -> Fitting:
    """Give books that refuse."""
    return Fitting(adapt=False)


@pytest.fixture
def lenient() -> Fitting:
    """Give books that mend."""
    return Fitting(adapt=True)


@pytest.mark.parametrize("adapt", [True, False])
def test_what_is_within_the_limit_leaves_no_entry(adapt: bool) -> None:  # noqa: FBT001
    """The books stay empty."""
    fitting = Fitting(adapt=adapt)

    fitting.require("p", "abc", LIMIT)
    assert fitting.keep("p", "abc", LIMIT) == "abc"
    assert fitting.shorten("p", "aé", LIMIT) == "aé"

    assert (fitting.adjustments, fitting.violations) == ([], [])


def test_shortening_cuts_and_says_so(lenient: Fitting) -> None:
    """A cut is a lossy adjustment."""
    assert lenient.shorten("p", "aéé", LIMIT) == "aé"
    assert lenient.adjustments == [Adjustment("p", "truncated", "size")]
    assert lenient.violations == []


def test_shortening_is_refused_without_leave(strict: Fitting) -> None:
    """The violation has the limit, the measure and the unit."""
    strict.shorten("p", "aéé", LIMIT)

    assert strict.violations == [Violation("p", "size", 3, 5, "UTF-8 bytes")]
    assert strict.adjustments == []


def test_what_must_be_whole_is_dropped(lenient: Fitting) -> None:
    """Half an e-mail address is another one."""
    assert lenient.keep("p", "abcd", LIMIT) is None
    assert lenient.adjustments == [Adjustment("p", "dropped", "size")]


def test_what_must_be_whole_is_refused_without_leave(strict: Fitting) -> None:
    """As a cut is."""
    assert strict.keep("p", "abcd", LIMIT) is None
    assert strict.violations == [Violation("p", "size", 3, 4, "UTF-8 bytes")]


def test_dropping_is_refused_without_leave(strict: Fitting, lenient: Fitting) -> None:
    """The same rule in either book."""
    strict.drop("p", "rule")
    lenient.drop("p", "rule")

    assert (strict.violations, strict.adjustments) == ([Violation("p", "rule")], [])
    assert (lenient.violations, lenient.adjustments) == ([], [Adjustment("p", "dropped", "rule")])


@pytest.mark.parametrize("adapt", [True, False])
def test_some_rules_are_never_mended(adapt: bool) -> None:  # noqa: FBT001
    """An id that is too long, and whatever is refused outright."""
    fitting = Fitting(adapt=adapt)

    fitting.require("user_id", "abcd", LIMIT)
    fitting.refuse("p", "name-collision")

    assert fitting.violations == [Violation("user_id", "size", 3, 4, "UTF-8 bytes"), Violation("p", "name-collision")]


def test_names_in_the_books_are_short_and_on_one_line(lenient: Fitting) -> None:
    """They come from outside and end in logs."""
    lenient.adjust(LONG, "renamed", "rule", LONG)
    lenient.adjust(LONG, "dropped", "rule")
    lenient.adjust("a\nb", "renamed", "rule", "c\nd")
    lenient.refuse("a\nb", "rule")
    lenient.exceed(LONG, LIMIT, 200)

    assert lenient.adjustments == [
        Adjustment(SHOWN, "renamed", "rule", SHOWN),
        Adjustment(SHOWN, "dropped", "rule"),
        Adjustment("a\\u000ab", "renamed", "rule", "c\\u000ad"),
    ]
    assert [violation.path for violation in lenient.violations] == ["a\\u000ab", SHOWN]


@pytest.mark.parametrize(("vendor", "key"), [(Fullstory, "key"), (LogRocket, "org:app:key")])
def test_on_violation_is_one_of_two(vendor: Any, key: str) -> None:
    """Anything else is refused by the setting's name."""
    with pytest.raises(ConfigurationError, match=r'^on_violation: is neither "reject" nor "adapt"$'):
        vendor(key, on_violation="truncate")
    assert vendor(key, on_violation="adapt").on_violation == "adapt"
