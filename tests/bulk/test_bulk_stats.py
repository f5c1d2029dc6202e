"""Counts of outcomes."""

import attrs
import orjson
import pytest

from replay_identity import (
    Accepted,
    Adjustment,
    Broken,
    Misconfigured,
    Outcome,
    Rejected,
    Skipped,
    Unavailable,
    Unknown,
    Violation,
)
from replay_identity.bulk import stats as stats_module
from replay_identity.bulk.stats import OTHER, AdjustmentKey, Cause, Stats, ViolationKey, most_frequent
from replay_identity.outcomes import SkipReason


def test_counts_outcomes_by_name_and_kind() -> None:
    """The kinds are accepted, skipped, rejected and pending."""
    stats = Stats()
    for outcome in (
        Accepted("acme"),
        Skipped("acme", SkipReason.NOTHING_TO_SEND),
        Rejected("acme", code="HTTP 400"),
        Broken("acme", "KeyError"),
        Misconfigured("acme", "HTTP 401"),
        Unavailable("acme", "HTTP 503"),
        Unknown("acme", "no response in time"),
    ):
        stats.add([outcome])

    backend = stats.backends["acme"]
    assert stats.users == 7
    assert (backend.accepted, backend.skipped, backend.rejected, backend.pending) == (1, 1, 2, 3)
    assert backend.as_dict()["outcomes"] == dict.fromkeys(
        ("Accepted", "Broken", "Misconfigured", "Rejected", "Skipped", "Unavailable", "Unknown"), 1
    )


def test_counts_backends_separately() -> None:
    """One user has one outcome at each."""
    stats = Stats()
    stats.add([Accepted("acme"), Rejected("other", code="x")])

    assert stats.users == 1
    assert [(name, backend.accepted) for name, backend in stats.backends.items()] == [("acme", 1), ("other", 0)]


def test_counts_adjusted_users_once() -> None:
    """Several adjustments of one field of one user count as one; losses are counted separately."""
    lossless = Adjustment("traits.seats[3]", "coerced", "strings-only")
    lossy = Adjustment("traits.bio", "truncated", "value-length")
    stats = Stats()
    stats.add([Accepted("acme", adjustments=(lossless, attrs.evolve(lossless, path="traits.seats[4]")))])
    stats.add([Accepted("acme", adjustments=(lossless, lossy))])

    backend = stats.backends["acme"]
    assert (backend.adjusted, backend.lossy) == (2, 1)
    assert most_frequent(backend.adjustments) == [
        (AdjustmentKey("traits.seats[]", "coerced", "strings-only"), 2),
        (AdjustmentKey("traits.bio", "truncated", "value-length"), 1),
    ]


def test_counts_violations_by_user() -> None:
    """The largest measure is kept; a list is one field, however many of its items are too long."""
    stats = Stats()
    stats.add([Rejected("acme", (too_long("traits.tags[0]", 12), too_long("traits.tags[7]", 30)))])
    stats.add([Rejected("acme", (too_long("traits.tags[1]", 20), Violation("user_id", "dot-segment")))])

    violations = stats.backends["acme"].violations
    assert {key: (total.count, total.largest) for key, total in violations.items()} == {
        ViolationKey("traits.tags[]", "length", 10, "characters"): (2, 30),
        ViolationKey("user_id", "dot-segment", None, None): (1, None),
    }


def too_long(path: str, actual: int) -> Violation:
    """Return a violation of a limit of ten characters."""
    return Violation(path, "length", 10, actual, "characters")


@pytest.mark.parametrize(
    ("outcome", "key"),
    [
        (Rejected("acme", code="invalid_email", message="canary-7Q"), Cause("Rejected", "invalid_email")),
        (Rejected("acme"), Cause("Rejected", "no code")),
        (Unavailable("acme", "HTTP 503", 9.0), Cause("Unavailable", "HTTP 503")),
        (Skipped("acme", SkipReason.NOTHING_TO_SEND), Cause("Skipped", "nothing to send")),
    ],
)
def test_counts_causes_without_messages(outcome: Outcome, key: Cause) -> None:
    """A vendor's messages differ from user to user, and may quote them."""
    stats = Stats()

    stats.add([outcome])

    assert dict(stats.backends["acme"].causes) == {key: 1}
    assert "canary-7Q" not in repr(stats)


def test_bounds_the_number_of_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of traits come from the data and must not fill the memory."""
    monkeypatch.setattr(stats_module, "MAX_PATHS", 3)
    stats = Stats()
    for number in range(10):
        stats.add([Rejected("acme", (too_long(f"traits.t{number}", number),))])
        stats.add([Accepted("acme", adjustments=(Adjustment("traits.t1", "dropped", "x"),))])

    backend = stats.backends["acme"]
    assert sorted((key.path, total.count) for key, total in backend.violations.items()) == [
        ("traits.t0", 1),
        ("traits.t1", 1),
        ("traits.t2", 1),
        (OTHER, 7),
    ]
    assert {key.path for key in backend.adjustments} == {"traits.t1"}


def test_merged_counts_equal_a_single_count() -> None:
    """Parts of a file can be counted separately."""
    outcomes: list[Outcome] = [
        Accepted("acme", adjustments=(Adjustment("traits.a", "dropped", "x"),)),
        Rejected("acme", (too_long("traits.b", 11),)),
        Rejected("acme", (too_long("traits.b", 40), Violation("traits.c", "y"))),
        Accepted("acme", adjustments=(Adjustment("traits.a", "coerced", "x"),)),
        Unavailable("other", "HTTP 503"),
    ]
    whole, first, second = Stats(), Stats(), Stats()
    for index, outcome in enumerate(outcomes):
        whole.add([outcome])
        (first if index % 2 else second).add([outcome])

    first.merge(second)

    assert first.as_dict()["users"] == whole.as_dict()["users"] == 5
    assert {name: b.as_dict() for name, b in first.backends.items()} == whole.as_dict()["backends"]


def test_json_lists_the_most_frequent_first() -> None:
    """Ties are sorted by name, so that two runs print the same."""
    stats = Stats()
    stats.add([Rejected("acme", (too_long("traits.z", 11),))])
    for path in ("traits.b", "traits.a"):
        stats.add([Rejected("acme", (Violation("traits.m", "r"), Violation(path, "r")))])

    counted = orjson.loads(orjson.dumps(stats.as_dict()))

    assert [(item["path"], item["count"]) for item in counted["backends"]["acme"]["violations"]] == [
        ("traits.m", 2),
        ("traits.a", 1),
        ("traits.b", 1),
        ("traits.z", 1),
    ]
    assert counted["backends"]["acme"]["violations"][3] == {
        "path": "traits.z",
        "rule": "length",
        "limit": 10,
        "unit": "characters",
        "largest": 11,
        "count": 1,
    }
