"""What became of one user at each backend: a closed vocabulary, and the report that gathers it."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from enum import StrEnum
from typing import ClassVar, Final, Literal, TypeAlias, assert_never

import attrs

from ._records import fast_frozen
from .errors import ConfigurationError, IdentifyError, NotAcceptedError

# Lossless kinds always happen; lossy ones only where the backend was told to adapt.
AdjustmentKind: TypeAlias = Literal[
    "coerced",  # the same value as another type or text: a date as ISO 8601, 43 as "43"
    "flattened",  # a nested value under its dotted name
    "lifted",  # a trait sent as the vendor's own field
    "removed",  # an empty value, which this vendor takes as a removal
    "warned",  # sent as it is, though the vendor may refuse or drop it
    "truncated",
    "dropped",
    "renamed",
]
LOSSY: Final[frozenset[str]] = frozenset({"truncated", "dropped", "renamed"})


@attrs.frozen
class Adjustment:
    """One difference between what was given and what is sent.

    Attributes:
        path: Dotted path of the field, for example ``traits.company.size``.
        kind: What was done; see `AdjustmentKind`.
        rule: Name of the vendor's rule or of our policy that asked for it.
        sent_as: The name it is sent under, where that is another.
    """

    path: str
    kind: AdjustmentKind
    rule: str
    sent_as: str | None = None

    @property
    def lossy(self) -> bool:
        """Tell whether the vendor cannot know what was given."""
        return self.kind in LOSSY


def lossy(adjustments: Sequence[Adjustment]) -> tuple[Adjustment, ...]:
    """Return those of *adjustments* by which the vendor cannot know what was given."""
    if LOSSY.isdisjoint([adjustment.kind for adjustment in adjustments]):
        return ()  # As nearly always.
    return tuple(adjustment for adjustment in adjustments if adjustment.lossy)


@attrs.frozen
class Violation:
    """One rule of a vendor that a user breaks, without the value that breaks it.

    Attributes:
        path: Dotted path of the field, for example ``traits.company.size``.
        rule: Name of the vendor's rule or of our policy.
        limit: The largest measure allowed, where the rule has one.
        actual: The measure found; for lists and objects of the value as JSON.
        unit: The unit of both, for example ``UTF-8 bytes``.
    """

    path: str
    rule: str
    limit: int | None = None
    actual: int | None = None
    unit: str | None = None

    def __str__(self) -> str:
        measure = "" if self.limit is None else f" ({self.actual} {self.unit}, at most {self.limit})"
        return f"{self.path} breaks {self.rule}{measure}"


@fast_frozen
class Accepted:
    """The vendor took it.

    Attributes:
        backend: Name of the backend.
        vendor_id: The vendor's own id of the user, where it told one.
        adjustments: How what was sent differs from what was given.
        verified: True when the vendor's reply shows every value that was sent.
    """

    retryable: ClassVar[bool] = False

    backend: str
    vendor_id: str | None = attrs.field(default=None, repr=False)
    adjustments: tuple[Adjustment, ...] = ()
    verified: bool = False


class SkipReason(StrEnum):
    """Why there was no request."""

    NOTHING_TO_SEND = "there is nothing to send: no name, no e-mail and no traits"
    FILTERED = "the route keeps this user from the backend"
    UNCHANGED = "the vendor has confirmed all of it"
    NOT_FOUND = "the vendor has no such user"


@attrs.frozen
class Skipped:
    """There was nothing to send, for the *reason* given."""

    retryable: ClassVar[bool] = False

    backend: str
    reason: SkipReason


@attrs.frozen
class Rejected:
    """The same traits will fail again.

    Attributes:
        backend: Name of the backend.
        violations: The limits broken, when the user was not even sent.
        code: The vendor's own code or HTTP status, when the vendor refused.
        message: The vendor's words, with everything that was sent masked in them.
    """

    retryable: ClassVar[bool] = False

    backend: str
    violations: tuple[Violation, ...] = ()
    code: str | None = None
    message: str | None = None


@attrs.frozen
class Misconfigured:
    """The settings must change before this backend can take anyone."""

    retryable: ClassVar[bool] = False

    backend: str
    problem: str
    hint: str = ""


@attrs.frozen
class Unavailable:
    """Not applied, but worth another try later.

    Attributes:
        backend: Name of the backend.
        cause: What went wrong, for a person.
        retry_after: Seconds to wait, where the vendor asked for them.
        status: HTTP status of the response, or None if there was none.
    """

    retryable: ClassVar[bool] = True

    backend: str
    cause: str
    retry_after: float | None = None
    status: int | None = None


@attrs.frozen
class Unknown:
    """In doubt: the request was sent, and there was no answer that tells what happened.

    Attributes:
        backend: Name of the backend.
        cause: What went wrong, for a person.
        retryable: False only where sending again could create a second user, as for an anonymous one.
        status: HTTP status of the response, or None if there was none.
    """

    backend: str
    cause: str
    retryable: bool = True
    status: int | None = None


@attrs.frozen
class Broken:
    """The adapter itself failed; *error* names the exception's type and place, never its text."""

    retryable: ClassVar[bool] = False

    backend: str
    error: str


Outcome: TypeAlias = Accepted | Skipped | Rejected | Misconfigured | Unavailable | Unknown | Broken
# What can come of asking a vendor anything, beside the answer.
Failure: TypeAlias = Rejected | Misconfigured | Unavailable | Unknown
Status: TypeAlias = Literal["ok", "partial", "failed"]


def explain(outcome: Outcome) -> str:
    """Return *outcome* as one line for a person, without values."""
    match outcome:
        case Accepted(adjustments=adjustments):
            return f"accepted{_explain_adjustments(adjustments)}"
        case Skipped(reason=reason):
            return reason
        case Rejected(violations=(_, *_) as violations):
            return "; ".join(str(violation) for violation in violations)
        case Rejected(code=code, message=message):
            return f"{code}: {message}" if message else f"{code}"
        case Misconfigured(problem=problem, hint=hint):
            return f"{problem}. {hint}" if hint else problem
        case Unavailable(cause=cause, retry_after=None) | Unknown(cause=cause):
            return cause
        case Unavailable(cause=cause, retry_after=seconds):
            return f"{cause}; try again after {seconds:g} s"
        case Broken(error=error):
            return f"the adapter failed: {error}"
        case _:
            assert_never(outcome)


def _explain_adjustments(adjustments: tuple[Adjustment, ...]) -> str:
    lossy = sum(adjustment.lossy for adjustment in adjustments)
    return (f", {len(adjustments)} adjusted" if adjustments else "") + (f", {lossy} with loss" if lossy else "")


def is_settled(outcome: Outcome) -> bool:
    """Tell whether the vendor holds what it should: it took the user, or there was nothing to send."""
    return isinstance(outcome, Accepted | Skipped)


@attrs.frozen
class IdentifyReport:
    """What became of one user: exactly one outcome per backend, in configured order."""

    outcomes: tuple[Outcome, ...]

    def __getitem__(self, backend: str) -> Outcome:
        """Return the outcome of the backend of that name, or raise KeyError."""
        return self.by_backend[backend]

    @property
    def by_backend(self) -> Mapping[str, Outcome]:
        """Return the outcomes by the names of their backends."""
        return {outcome.backend: outcome for outcome in self.outcomes}

    @property
    def status(self) -> Status:
        """Return ``ok`` if every backend is settled, ``partial`` if one accepted all the same, else ``failed``."""
        if all(is_settled(outcome) for outcome in self.outcomes):
            return "ok"
        return "partial" if any(isinstance(outcome, Accepted) for outcome in self.outcomes) else "failed"

    @property
    def retryable(self) -> frozenset[str]:
        """Return the names of the backends worth another try."""
        return frozenset(outcome.backend for outcome in self.outcomes if outcome.retryable)

    def merge(self, later: "IdentifyReport") -> "IdentifyReport":
        """Return this report with the outcomes of *later* in place of the older ones of the same backends."""
        newer = later.by_backend
        return IdentifyReport(tuple(newer.get(outcome.backend, outcome) for outcome in self.outcomes))

    def raise_for_status(self, require: Literal["all", "any"] | AbstractSet[str] = "all") -> None:
        """Raise unless the required backends are settled.

        Args:
            require: ``"all"`` backends, ``"any"`` one of them, or the names of those that must be.

        Raises:
            IdentifyError: Holds one NotAcceptedError per backend that is missing.
            ConfigurationError: *require* names a backend that was not asked.
        """
        unsettled = [outcome for outcome in self.outcomes if not is_settled(outcome)]
        if require == "any" and len(unsettled) < len(self.outcomes):
            return
        required = self.by_backend.keys() if require in ("all", "any") else self._required(require)
        missing = [_error(outcome) for outcome in unsettled if outcome.backend in required]
        if missing:
            raise IdentifyError("not every backend took the user", missing)

    def _required(self, names: AbstractSet[str] | str) -> AbstractSet[str]:
        required = frozenset([names]) if isinstance(names, str) else names
        unknown = sorted(required - self.by_backend.keys())
        if unknown:
            raise ConfigurationError("require", f"no backend is named {', '.join(unknown)}")
        return required


def _error(outcome: Outcome) -> NotAcceptedError:
    return NotAcceptedError(outcome.backend, type(outcome).__name__, explain(outcome))
