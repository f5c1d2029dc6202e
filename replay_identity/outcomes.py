"""Outcomes of sending one user to one backend, and the report that collects them: a closed vocabulary."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from enum import Enum, StrEnum
from typing import Any, ClassVar, Final, Literal, TypeAlias, assert_never

import attrs

from ._records import fast_frozen
from ._values import is_list
from .errors import ConfigurationError, IdentifyError, NotAcceptedError

# Lossless kinds may always be applied; lossy ones only if the backend is set to adapt.
AdjustmentKind: TypeAlias = Literal[
    "coerced",  # the same value as another type or text: a date as ISO 8601, 43 as "43"
    "flattened",  # a nested value under its dotted name
    "lifted",  # a trait sent as the vendor's own field
    "removed",  # an empty value, which this vendor treats as a removal
    "warned",  # sent unchanged, though the vendor may reject or drop it
    "truncated",
    "dropped",
    "renamed",
]
LOSSY_KINDS: Final[frozenset[str]] = frozenset({"truncated", "dropped", "renamed"})


@attrs.frozen
class Adjustment:
    """One difference between a user's traits and what is sent.

    Attributes:
        path: Dotted path of the field, for example ``traits.company.size``.
        kind: What was done; see `AdjustmentKind`.
        rule: Name of the vendor's rule, or of our policy, behind it.
        sent_as: The name it is sent under, if that differs.
    """

    path: str
    kind: AdjustmentKind
    rule: str
    sent_as: str | None = None

    @property
    def lossy(self) -> bool:
        """Return True if the vendor does not receive the full information."""
        return self.kind in LOSSY_KINDS


def lossy_adjustments(adjustments: Sequence[Adjustment]) -> tuple[Adjustment, ...]:
    """Return those of *adjustments* that are lossy."""
    if not adjustments or LOSSY_KINDS.isdisjoint([adjustment.kind for adjustment in adjustments]):
        return ()  # The usual case.
    return tuple(adjustment for adjustment in adjustments if adjustment.lossy)


@attrs.frozen
class Violation:
    """One rule of a vendor that a user breaks, without the value that breaks it.

    Attributes:
        path: Dotted path of the field, for example ``traits.company.size``.
        rule: Name of the vendor's rule, or of our policy.
        limit: The largest measure allowed, if the rule has one.
        actual: The measure found; for lists and objects, that of the value as JSON.
        unit: The unit of both, for example ``UTF-8 bytes``.
    """

    path: str
    rule: str
    limit: int | None = None
    actual: int | None = None
    unit: str | None = None

    def __str__(self) -> str:
        measure = "" if self.limit is None else f" ({self.actual} {self.unit}, at most {self.limit})"
        return f"{self.path} breaks the rule {self.rule}{measure}"


@fast_frozen
class Accepted:
    """The vendor accepted the user.

    Attributes:
        backend: Name of the backend.
        vendor_id: The vendor's own id of the user, if the response has one.
        adjustments: How what was sent differs from the user's traits.
        verified: True if the response shows every value that was sent.
        request_id: The vendor's id of the request, if it only queued the user, by which to ask for the result.
    """

    retryable: ClassVar[bool] = False

    backend: str
    vendor_id: str | None = attrs.field(default=None, repr=False)
    adjustments: tuple[Adjustment, ...] = ()
    verified: bool = False
    request_id: str | None = attrs.field(default=None, repr=False)


class SkipReason(StrEnum):
    """Why no request was needed."""

    NOTHING_TO_SEND = "nothing to send"
    FILTERED = "filtered by the route"
    UNCHANGED = "already confirmed by the vendor"
    NOT_FOUND = "no such user at the vendor"


@attrs.frozen
class Skipped:
    """No request was needed, for the *reason* given."""

    retryable: ClassVar[bool] = False

    backend: str
    reason: SkipReason


@attrs.frozen
class Rejected:
    """The vendor or a limit rejected the user. The same traits will fail again.

    Attributes:
        backend: Name of the backend.
        violations: The limits broken, if the user was not sent.
        code: The vendor's own code or the HTTP status, if the vendor rejected the user.
        message: The vendor's message with everything that was sent redacted.
    """

    retryable: ClassVar[bool] = False

    backend: str
    violations: tuple[Violation, ...] = ()
    code: str | None = None
    message: str | None = None


@attrs.frozen
class Misconfigured:
    """A setting must change before this backend can accept any user."""

    retryable: ClassVar[bool] = False

    backend: str
    problem: str
    hint: str = ""


@attrs.frozen
class Unavailable:
    """The request was not applied; retry it later.

    Attributes:
        backend: Name of the backend.
        cause: What went wrong, for a person to read.
        retry_after: Seconds the vendor asked us to wait, if it did.
        status: HTTP status of the response, or None if there was none.
    """

    retryable: ClassVar[bool] = True

    backend: str
    cause: str
    retry_after: float | None = None
    status: int | None = None


@attrs.frozen
class Unknown:
    """In doubt: the request was sent, but no response shows whether it was applied.

    Attributes:
        backend: Name of the backend.
        cause: What went wrong, for a person to read.
        retryable: False only if sending again could create a second user, as for an anonymous one.
        status: HTTP status of the response, or None if there was none.
    """

    backend: str
    cause: str
    retryable: bool = True
    status: int | None = None


@attrs.frozen
class Broken:
    """The adapter itself failed; *error* is the exception's type and place, never its text."""

    retryable: ClassVar[bool] = False

    backend: str
    error: str


Outcome: TypeAlias = Accepted | Skipped | Rejected | Misconfigured | Unavailable | Unknown | Broken
# How any request to a vendor can fail.
Failure: TypeAlias = Rejected | Misconfigured | Unavailable | Unknown
Status: TypeAlias = Literal["ok", "partial", "failed"]


def is_settled(outcome: Outcome) -> bool:
    """Return True if the vendor has what it should have: it accepted the user, or no request was needed."""
    return isinstance(outcome, Accepted | Skipped)


def explain(outcome: Outcome) -> str:
    """Return *outcome* as one line for a person to read, without values."""
    match outcome:
        case Accepted(adjustments=adjustments):
            return f"accepted{_explain_adjustments(adjustments)}"
        case Skipped(reason=reason):
            return str(reason)
        case Rejected(violations=(_, *_) as violations):
            return "; ".join(str(violation) for violation in violations)
        case Rejected(code=code, message=message):
            return f"{code}: {message}" if message else f"{code}"
        case Misconfigured(problem=problem, hint=hint):
            return f"{problem}. {hint}" if hint else problem
        case Unavailable(cause=cause, retry_after=None) | Unknown(cause=cause):
            return cause
        case Unavailable(cause=cause, retry_after=seconds):
            return f"{cause}; retry after {seconds:g} s"
        case Broken(error=error):
            return f"the adapter failed: {error}"
        case _:
            assert_never(outcome)


def _explain_adjustments(adjustments: tuple[Adjustment, ...]) -> str:
    lossy = sum(adjustment.lossy for adjustment in adjustments)
    return (f", {len(adjustments)} adjusted" if adjustments else "") + (f", {lossy} with loss" if lossy else "")


def outcome_as_dict(outcome: Outcome) -> dict[str, Any]:
    """Return *outcome* ready for JSON, without the vendor's id of the user."""
    fields = attrs.asdict(
        outcome,
        filter=lambda field, _: field.name not in {"backend", "vendor_id"},
        value_serializer=_as_json,
    )
    return {
        "backend": outcome.backend,
        "outcome": type(outcome).__name__,
        "explanation": explain(outcome),
        "retryable": outcome.retryable,
        **fields,
    }


def _as_json(_instance: object, _field: object, value: Any) -> Any:  # noqa: ANN401  # Any field.
    if isinstance(value, Enum):
        return value.value
    return list(value) if is_list(value) else value


@attrs.frozen
class IdentifyReport:
    """The outcomes of sending one user: exactly one per backend, in configured order."""

    outcomes: tuple[Outcome, ...]

    def __getitem__(self, backend: str) -> Outcome:
        """Return the outcome of the backend with that name, or raise KeyError."""
        return self.by_backend[backend]

    @property
    def by_backend(self) -> Mapping[str, Outcome]:
        """Return the outcomes by backend name."""
        return {outcome.backend: outcome for outcome in self.outcomes}

    @property
    def status(self) -> Status:
        """Return ``ok`` if every backend is settled, else ``partial`` if one accepted the user, else ``failed``."""
        if all(is_settled(outcome) for outcome in self.outcomes):
            return "ok"
        return "partial" if any(isinstance(outcome, Accepted) for outcome in self.outcomes) else "failed"

    @property
    def retryable(self) -> frozenset[str]:
        """Return the names of the backends that are worth a retry."""
        return frozenset(outcome.backend for outcome in self.outcomes if outcome.retryable)

    def merge(self, later: "IdentifyReport") -> "IdentifyReport":
        """Return this report with outcomes replaced by those of *later* for the same backends."""
        newer = later.by_backend
        return IdentifyReport(tuple(newer.get(outcome.backend, outcome) for outcome in self.outcomes))

    def as_dict(self) -> dict[str, Any]:
        """Return the report ready for JSON, without values of traits and without ids of users."""
        return {"status": self.status, "outcomes": [outcome_as_dict(outcome) for outcome in self.outcomes]}

    def raise_for_status(self, require: Literal["all", "any"] | AbstractSet[str] = "all") -> None:
        """Raise IdentifyError unless the required backends are settled.

        Args:
            require: ``"all"`` backends, ``"any"`` one of them, or a set of names.

        Raises:
            IdentifyError: Holds one NotAcceptedError per required backend that is not settled.
            ConfigurationError: *require* has a name that is not in the report.
        """
        unsettled = [outcome for outcome in self.outcomes if not is_settled(outcome)]
        if require == "any" and len(unsettled) < len(self.outcomes):
            return
        required = self.by_backend.keys() if require in ("all", "any") else self._required(require)
        errors = [_not_accepted(outcome) for outcome in unsettled if outcome.backend in required]
        if errors:
            raise IdentifyError("not every required backend accepted the user", errors)

    def _required(self, names: AbstractSet[str] | str) -> AbstractSet[str]:
        required = frozenset([names]) if isinstance(names, str) else names
        unknown = sorted(required - self.by_backend.keys())
        if unknown:
            raise ConfigurationError("require", f"no backend is named {', '.join(unknown)}")
        return required


def _not_accepted(outcome: Outcome) -> NotAcceptedError:
    return NotAcceptedError(outcome.backend, type(outcome).__name__, explain(outcome))
