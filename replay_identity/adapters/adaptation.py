"""Adapt one user to a vendor's limits, and record the adjustments and violations."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, Literal, TypeAlias, get_args

import attrs

from ..errors import ConfigurationError, printable
from ..outcomes import Adjustment, AdjustmentKind, Violation
from .limits import Limit

OnViolation: TypeAlias = Literal["reject", "adapt"]

# A path is the caller's input: long ones are shortened before they reach the cache.
_MAX_CACHED_LEN: Final = 100


def check_on_violation(_instance: object, attribute: "attrs.Attribute[Any]", value: str) -> None:
    """Validate an attrs field: raise ConfigurationError unless *value* is "reject" or "adapt"."""
    if value not in get_args(OnViolation):
        raise ConfigurationError(attribute.name, 'expected "reject" or "adapt"')


# Named functions, because list[Adjustment]() takes five times as long as [].
def _no_adjustments() -> list[Adjustment]:
    return []


def _no_violations() -> list[Violation]:
    return []


@attrs.define
class Adaptation:
    """Collects the adjustments and violations of one user at one vendor.

    Attributes:
        adapt: True to adapt values over a limit, with a recorded loss; False to record violations.
        adjustments: Differences between the user's traits and what is sent.
        violations: Broken rules; with any, the user is not sent.
    """

    adapt: bool
    adjustments: list[Adjustment] = attrs.field(init=False, factory=_no_adjustments)
    violations: list[Violation] = attrs.field(init=False, factory=_no_violations)

    def record(self, path: str, kind: AdjustmentKind, rule: str, sent_as: str | None = None) -> None:
        """Record one adjustment."""
        if len(path) > _MAX_CACHED_LEN:
            path, sent_as = printable(path), sent_as and printable(sent_as)
        self.adjustments.append(_adjustment(path, kind, rule, sent_as))

    def reject(self, path: str, rule: str) -> None:
        """Record a violation that cannot be adapted, such as two names that collide."""
        self.violations.append(Violation(printable(path), rule))

    def drop(self, path: str, rule: str) -> None:
        """Record that the field at *path* cannot be sent: as dropped if adapting, else as a violation."""
        if self.adapt:
            self.record(path, "dropped", rule)
        else:
            self.reject(path, rule)

    def reject_over(self, path: str, limit: Limit, actual: int) -> None:
        """Record a violation: *actual* is over *limit*."""
        self.violations.append(Violation(printable(path), limit.rule, limit.maximum, actual, limit.unit))

    def check(self, path: str, text: str, limit: Limit) -> None:
        """Record a violation if *text* is over *limit*, even when adapting: a truncated id is another id."""
        if not limit.allows(text):
            self.reject_over(path, limit, limit.measure(text))

    def fit_or_drop(self, path: str, text: str, limit: Limit) -> str | None:
        """Return *text* if it is within *limit*; else record that and return None. For text that must not be cut."""
        if limit.allows(text):
            return text
        if self.adapt:
            self.record(path, "dropped", limit.rule)
        else:
            self.reject_over(path, limit, limit.measure(text))
        return None

    def truncate(self, path: str, text: str, limit: Limit) -> str:
        """Return *text*, truncated to *limit* if it is longer and adapting; record what was done."""
        if limit.allows(text):
            return text
        if not self.adapt:
            self.reject_over(path, limit, limit.measure(text))
            return text
        self.record(path, "truncated", limit.rule)
        return limit.truncate(text)


def cached_adjustment(kind: AdjustmentKind, rule: str) -> Callable[[str], Adjustment]:
    """Return a cached function from path to adjustment, since rows repeat their traits; for paths of bounded length."""

    @lru_cache(maxsize=1024)
    def adjustment(path: str) -> Adjustment:
        return Adjustment(printable(path), kind, rule)

    return adjustment


# Cached because rows repeat their traits: every user of a file has the same few adjustments.
@lru_cache(maxsize=4096)
def _adjustment(path: str, kind: AdjustmentKind, rule: str, sent_as: str | None) -> Adjustment:
    return Adjustment(printable(path), kind, rule, None if sent_as is None else printable(sent_as))
