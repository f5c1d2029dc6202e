"""The books kept while one user is fitted to a vendor: what was adjusted, and what breaks a rule."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, Literal, TypeAlias, get_args

import attrs

from ..errors import ConfigurationError, printable
from ..outcomes import Adjustment, AdjustmentKind, Violation
from .limits import Limit

OnViolation: TypeAlias = Literal["reject", "adapt"]


def check_on_violation(_instance: object, attribute: "attrs.Attribute[Any]", value: str) -> None:
    """Raise ConfigurationError unless *value* is one of the two."""
    if value not in get_args(OnViolation):
        raise ConfigurationError(attribute.name, 'is neither "reject" nor "adapt"')


# Named, since list[Adjustment]() costs five times as much as [].
def _no_adjustments() -> list[Adjustment]:
    return []


def _no_violations() -> list[Violation]:
    return []


@attrs.define
class Adaptation:
    """Collect adjustments and violations of one user at one vendor.

    Attributes:
        adapt: Whether a broken limit is mended with a loss and recorded, or reported as a violation.
        adjustments: What differs between the traits given and those sent.
        violations: What keeps the user from being sent.
    """

    adapt: bool
    adjustments: list[Adjustment] = attrs.field(init=False, factory=_no_adjustments)
    violations: list[Violation] = attrs.field(init=False, factory=_no_violations)

    def record(self, path: str, kind: AdjustmentKind, rule: str, sent_as: str | None = None) -> None:
        """Record one difference between what was given and what is sent."""
        if len(path) > _MAX_CACHED_LEN:
            path, sent_as = printable(path), sent_as and printable(sent_as)
        self.adjustments.append(_adjustment(path, kind, rule, sent_as))

    def reject(self, path: str, rule: str) -> None:
        """Record a rule broken that nothing can mend, such as two names that become one."""
        self.violations.append(Violation(printable(path), rule))

    def drop(self, path: str, rule: str) -> None:
        """Record that the field at *path* cannot be sent: dropped if we adapt, a violation if not."""
        if self.adapt:
            self.record(path, "dropped", rule)
        else:
            self.reject(path, rule)

    def reject_over(self, path: str, limit: Limit, actual: int) -> None:
        """Record that *actual* is over *limit*."""
        self.violations.append(Violation(printable(path), limit.rule, limit.maximum, actual, limit.unit))

    def check(self, path: str, text: str, limit: Limit) -> None:
        """Record a violation unless *text* is within *limit*, which may never be mended: an id cut is another id."""
        if not limit.allows(text):
            self.reject_over(path, limit, limit.measure(text))

    def fit_or_drop(self, path: str, text: str, limit: Limit) -> str | None:
        """Return *text* if it is within *limit*, else None: a text that must be whole or not be sent."""
        if limit.allows(text):
            return text
        if self.adapt:
            self.record(path, "dropped", limit.rule)
        else:
            self.reject_over(path, limit, limit.measure(text))
        return None

    def truncate(self, path: str, text: str, limit: Limit) -> str:
        """Return *text*, cut to *limit* if it is longer and we adapt."""
        if limit.allows(text):
            return text
        if not self.adapt:
            self.reject_over(path, limit, limit.measure(text))
            return text
        self.record(path, "truncated", limit.rule)
        return limit.truncate(text)


def cached_adjustment(kind: AdjustmentKind, rule: str) -> Callable[[str], Adjustment]:
    """Return what makes the adjustment of a path once, since rows repeat their traits; for paths of bounded length."""

    @lru_cache(maxsize=1024)
    def adjustment(path: str) -> Adjustment:
        return Adjustment(printable(path), kind, rule)

    return adjustment


# Rows repeat their traits, so the same few adjustments are made for every user of a file.
@lru_cache(maxsize=4096)
def _adjustment(path: str, kind: AdjustmentKind, rule: str, sent_as: str | None) -> Adjustment:
    return Adjustment(printable(path), kind, rule, None if sent_as is None else printable(sent_as))


# A path is the caller's input: of a long one only what is shown is remembered.
_MAX_CACHED_LEN: Final = 100
