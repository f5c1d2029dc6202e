"""What each vendor would make of users, without asking it."""

from collections.abc import Iterable
from typing import TypeAlias

from .backend import IdentityBackend, Plan
from .model import UserTraits
from .outcome import Accepted, Broken, Outcome, Rejected, Skipped
from .route import Route
from .tally import Tally

Target: TypeAlias = IdentityBackend | Route


def check_user(user: UserTraits, targets: Iterable[Target]) -> tuple[Outcome, ...]:
    """Return what would become of *user* at each backend if the vendor only kept to its published limits.

    An `Accepted` carries what would be adjusted, a `Rejected` the violations; nothing is sent.
    """
    return tuple(_check(user, target) for target in targets)


def check(users: Iterable[UserTraits], targets: Iterable[Target]) -> Tally:
    """Return what would become of *users* at each backend; see `check_user`."""
    asked = tuple(targets)
    tally = Tally()
    for user in users:
        tally.add(check_user(user, asked))
    return tally


def _check(user: UserTraits, target: Target) -> Outcome:
    try:
        plan = target.plan(user)
    except Exception as error:  # noqa: BLE001  # One adapter's bug must not hide another's answer.
        return Broken(target.name, type(error).__name__)  # Its text may quote a value.
    return plan if isinstance(plan, Skipped) else _foresee(plan)


def _foresee(plan: Plan) -> Outcome:
    if plan.violations:
        return Rejected(plan.backend, plan.violations)
    if plan.request is None:
        return Skipped(plan.backend, "nothing to send")
    return Accepted(plan.backend, adjustments=plan.adjustments)
