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
    """Return a log that rejects."""
    return Adaptation(adapt=False)


@pytest.fixture
def lenient() -> Adaptation:
    """Return a log that adapts."""
    return Adaptation(adapt=True)


@pytest.mark.parametrize("adapt", [True, False])
def test_records_nothing_within_the_limit(adapt: bool) -> None:  # noqa: FBT001
    """Neither an adjustment nor a violation."""
    adaptation = Adaptation(adapt=adapt)

    adaptation.check("p", "abc", LIMIT)
    assert adaptation.fit_or_drop("p", "abc", LIMIT) == "abc"
    assert adaptation.truncate("p", "aé", LIMIT) == "aé"

    assert (adaptation.adjustments, adaptation.violations) == ([], [])


def test_truncating_records_an_adjustment(lenient: Adaptation) -> None:
    """There is neither an adjustment nor a violation."""
    assert lenient.truncate("p", "aéé", LIMIT) == "aé"
    assert lenient.adjustments == [Adjustment("p", "truncated", "size")]
    assert lenient.violations == []


def test_truncating_is_a_violation_unless_adapting(strict: Adaptation) -> None:
    """The violation has the limit, the measure and the unit."""
    strict.truncate("p", "aéé", LIMIT)

    assert strict.violations == [Violation("p", "size", 3, 5, "UTF-8 bytes")]
    assert strict.adjustments == []


def test_drops_what_must_not_be_cut(lenient: Adaptation) -> None:
    """Half an e-mail address is another address."""
    assert lenient.fit_or_drop("p", "abcd", LIMIT) is None
    assert lenient.adjustments == [Adjustment("p", "dropped", "size")]


def test_an_overlong_whole_is_a_violation_unless_adapting(strict: Adaptation) -> None:
    """The rule is the same as for text that may be cut."""
    assert strict.fit_or_drop("p", "abcd", LIMIT) is None
    assert strict.violations == [Violation("p", "size", 3, 4, "UTF-8 bytes")]


def test_dropping_is_a_violation_unless_adapting(strict: Adaptation, lenient: Adaptation) -> None:
    """Both record the same rule."""
    strict.drop("p", "rule")
    lenient.drop("p", "rule")

    assert (strict.violations, strict.adjustments) == ([Violation("p", "rule")], [])
    assert (lenient.violations, lenient.adjustments) == ([], [Adjustment("p", "dropped", "rule")])


@pytest.mark.parametrize("adapt", [True, False])
def test_some_violations_are_never_adapted(adapt: bool) -> None:  # noqa: FBT001
    """A truncated id would be another id."""
    adaptation = Adaptation(adapt=adapt)

    adaptation.check("user_id", "abcd", LIMIT)
    adaptation.reject("p", "name-collision")

    assert adaptation.violations == [
        Violation("user_id", "size", 3, 4, "UTF-8 bytes"),
        Violation("p", "name-collision"),
    ]


def test_records_names_short_and_on_one_line(lenient: Adaptation) -> None:
    """Names are the caller's input and end up in logs."""
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
def test_on_violation_is_reject_or_adapt(vendor: Any, key: str) -> None:
    """Any other value raises an error that names the setting."""
    with pytest.raises(ConfigurationError, match=r'^on_violation: expected "reject" or "adapt"$'):
        vendor(key, on_violation="truncate")
    assert vendor(key, on_violation="adapt").on_violation == "adapt"
