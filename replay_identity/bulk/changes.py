"""Decide what has to be sent for a claim: encode the user, and compare the fields with what the vendor confirmed."""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final, TypeVar

import attrs

from .._paths import leaves, prefixes
from .._records import fast_frozen
from .._values import REMOVE, is_nested
from ..adapters.exchange import Exchange
from ..adapters.protocols import EncodedUser, Plan, SupportsBatch, SupportsPartialUpdate
from ..adapters.responses import adapter_error, checked_outcome
from ..ledger import Claim
from ..ledger.merging import field_names
from ..outcomes import Adjustment, Broken, Outcome, Rejected, Skipped, SkipReason, lossy_adjustments
from ..router import Route
from ..traits import UserTraits
from .outbox import Outbox

T = TypeVar("T")

# What the names of a vendor's fields begin with if nested traits are sent as one field per leaf.
_TRAIT: Final = "traits."
# Stands for the whole request of a backend whose plans have no fields.
_WHOLE: Final = "*"
# Stands for the vendor's own id of the user, which is sent beside the fields.
_VENDOR_ID: Final = "*id"


@fast_frozen
class Change:
    """What has to be sent of one user.

    Attributes:
        claim: The claim to settle.
        user: The user as the route lets them through.
        plan: The request, or None if the backend plans it when it sends the user.
    """

    claim: Claim
    user: UserTraits = attrs.field(repr=False)
    plan: Plan | None = None


@fast_frozen
class EncodedChange:
    """What has to be sent of one user in a batch.

    Attributes:
        claim: The claim to settle.
        content: What is sent.
        adjustments: How what the vendor has afterwards differs from the user's traits.
    """

    claim: Claim
    content: bytes = attrs.field(repr=False)
    adjustments: tuple[Adjustment, ...] = ()


@fast_frozen
class Unsent:
    """A claim that needs no request.

    Attributes:
        claim: The claim to settle.
        outcome: Its outcome.
        lost: What the vendor's limits keep from it.
    """

    claim: Claim
    outcome: Outcome
    lost: tuple[Adjustment, ...] = ()


def has_flat_traits(route: Route) -> bool:
    """Return True if the vendor stores each leaf of a nested trait under its dotted name."""
    is_flat: bool = getattr(route.backend, "FLAT_TRAITS", False)
    return is_flat


def sent_paths(route: Route, user: UserTraits) -> Collection[str]:
    """Return the paths of what the backend of *route* is sent of *user*, as losses name them.

    A vendor of flat names keeps what is nested beside it; any other vendor replaces a trait as a whole.
    """
    routed = route.apply(user)
    if not isinstance(routed, UserTraits):
        return ()
    if not has_flat_traits(route):
        return field_names(routed)
    flat = {".".join(names): leaf for names, leaf in leaves(routed.traits)}
    return field_names(attrs.evolve(routed, traits=flat))


def complete_removals(traits: Mapping[str, Any], removed: Collection[str], stored: Iterable[str]) -> dict[str, Any]:
    """Return *traits* for a vendor of flat names, with a removal of all that it may have below a removed trait.

    Args:
        traits: The traits to send.
        removed: Dotted paths that were removed, some of which may have been set again.
        stored: Dotted paths that the vendor may have.
    """
    gone = {*removed, *(path for path in stored if any(parent in removed for parent in prefixes(path)))}
    completed: dict[str, Any] = {}
    for name, value in traits.items():
        flat = {".".join(names): leaf for names, leaf in leaves({name: value})}
        # Under flat names, so that what the vendor may have under the name itself can be removed. If two names are one
        # to the vendor, the adapter says so.
        is_flattened = is_nested(value) and name in gone and flat.keys().isdisjoint(traits)
        completed.update(flat if is_flattened else {name: value})
    still_set = {".".join(names) for names, _ in leaves(traits)}
    completed.update(dict.fromkeys(sorted(gone - still_set - completed.keys()), REMOVE))
    return completed


@attrs.define
class ChangePlanner:
    """Plans the changes of one backend.

    Attributes:
        route: The backend, and what it may see.
        outbox: Knows what the vendor has confirmed.
    """

    route: Route
    outbox: Outbox
    _partial: SupportsPartialUpdate | None = attrs.field(init=False)
    _has_flat_traits: bool = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        backend = self.route.backend
        self._partial = backend if isinstance(backend, SupportsPartialUpdate) else None
        self._has_flat_traits = has_flat_traits(self.route)

    def change(self, claim: Claim) -> Change | Unsent:
        """Return what has to be sent for *claim* in a request."""
        return self._plan(claim, self._change)

    def encoded_change(self, claim: Claim, backend: SupportsBatch) -> EncodedChange | Unsent:
        """Return what has to be sent for *claim* in a batch."""
        return self._plan(claim, lambda claim, user: self._encoded_change(claim, user, backend))

    def send(self, change: Change) -> Exchange[Outcome]:
        """Send *change*."""
        if self._partial is None or change.plan is None:
            return self.route.backend.identify(change.user)
        return self._partial.send(change.user, change.plan)

    def _plan(self, claim: Claim, plan: Callable[[Claim, UserTraits], T | Unsent]) -> T | Unsent:
        try:
            user = self._routed(claim)
            if not isinstance(user, UserTraits):
                return Unsent(claim, checked_outcome(self.route.name, user))
            return plan(claim, user)
        except Exception as error:  # noqa: BLE001  # A bug in an adapter or a route must not stop the run.
            return Unsent(claim, adapter_error(self.route.name, error))

    def _routed(self, claim: Claim) -> UserTraits | Outcome:
        """Return the user as the route lets them through, with every removal complete."""
        user = self.route.apply(claim.user)
        if not claim.removed or not self._has_flat_traits or not isinstance(user, UserTraits):
            return user
        removed = {sent_as for path in claim.removed for sent_as in self.route.removed_with(path)}
        stored = [name.removeprefix(_TRAIT) for name in self.outbox.stored_names(claim) if name.startswith(_TRAIT)]
        return attrs.evolve(user, traits=complete_removals(user.traits, removed, stored))

    def _change(self, claim: Claim, user: UserTraits) -> Change | Unsent:
        if self._partial is None and not self.outbox.has_confirmed_state:
            return Change(claim, user)
        plan = self.route.backend.plan(user)
        request = plan.request
        if request is None:
            # Only a backend that sends its own plans sends nothing else.
            return Unsent(claim, plan.unsent) if self._partial is not None else Change(claim, user)
        fields = plan.fields
        if fields is None:
            fields = {_WHOLE: f"{request.method} {request.url} {(request.body or b'').hex()}"}
        compared, changed = self._compare(claim, user, fields)
        if changed is not None and not changed:
            return self._unchanged(compared, plan.adjustments)
        if changed is not None and plan.fields is not None and self._partial is not None:
            plan = self._partial.plan(user, only=changed)
        return Change(compared, user, plan)

    def _encoded_change(self, claim: Claim, user: UserTraits, backend: SupportsBatch) -> EncodedChange | Unsent:
        encoded = backend.encode_for_batch(user)
        if not isinstance(encoded, EncodedUser):  # pyright: ignore[reportUnnecessaryIsInstance]  # An adapter's bug.
            return Unsent(claim, checked_outcome(self.route.name, encoded))
        if encoded.content is None:
            return Unsent(claim, Rejected(self.route.name, encoded.violations))
        fields = {_WHOLE: encoded.content.hex()} if encoded.fields is None else encoded.fields
        compared, changed = self._compare(claim, user, fields)
        if changed is not None and not changed:
            return self._unchanged(compared, encoded.adjustments)
        if changed is not None and encoded.fields is not None:
            encoded = backend.encode_for_batch(user, only=changed)
        content = encoded.content
        if not isinstance(content, bytes):
            return Unsent(claim, Broken(self.route.name, "the adapter returned content that is not bytes"))
        return EncodedChange(compared, content, encoded.adjustments)

    def _compare(
        self, claim: Claim, user: UserTraits, fields: Mapping[str, Any]
    ) -> tuple[Claim, Collection[str] | None]:
        if user.vendor_ids and self.route.name in user.vendor_ids:
            fields = {**fields, _VENDOR_ID: user.vendor_ids[self.route.name]}
        compared, changed = self.outbox.compare(claim, fields)
        # Under another id of the vendor's, nothing is confirmed.
        return compared, None if changed is not None and _VENDOR_ID in changed else changed

    def _unchanged(self, claim: Claim, adjustments: tuple[Adjustment, ...]) -> Unsent:
        return Unsent(claim, Skipped(self.route.name, SkipReason.UNCHANGED), lossy_adjustments(adjustments))
