"""One identify call to every backend: fan out, wait for one deadline, reconcile the answers."""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from concurrent.futures import Future, wait
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Generic, Self, TypeVar

import attrs

from ._threads import DaemonPool
from ._values import is_nested
from .adapters.exchange import Exchange
from .adapters.protocols import IdentityBackend, Plan
from .adapters.responses import adapter_error, checked_outcome
from .errors import ConfigurationError, printable
from .outcomes import IdentifyReport, Outcome, Rejected, Skipped, SkipReason, Unknown, Violation
from .retry import RetryPolicy
from .traits import TraitType, UserTraits
from .transport import AsyncSender, AsyncTransport, Sender, Transport


class CollisionError(Exception):
    """Two traits of one user would have the same name."""


def _check_names(_instance: object, attribute: "attrs.Attribute[Any]", names: AbstractSet[str] | None) -> None:
    if isinstance(names, str):
        problem = "expected a set of names, got a string"
        raise ConfigurationError(attribute.name, problem, f'write {attribute.name}={{"plan"}}')


@attrs.frozen
class Route:
    """A backend, and what it may see.

    Names are a trait's, dotted with its parents' for a nested one; ``name`` and ``email`` are the user's own fields.

    Attributes:
        backend: The backend.
        when: Tells whether this user goes to the backend at all.
        only: The names that may be sent, with all that is nested in them; None for all.
        exclude: The names that may not be sent, with all that is nested in them.
        rename: New names by old name; a nested trait stays where it is nested.
    """

    backend: IdentityBackend
    when: Callable[[UserTraits], bool] | None = attrs.field(default=None, kw_only=True)
    only: AbstractSet[str] | None = attrs.field(default=None, kw_only=True, validator=_check_names)
    exclude: AbstractSet[str] = attrs.field(default=frozenset[str](), kw_only=True, validator=_check_names)
    rename: Mapping[str, str] = attrs.field(factory=dict[str, str], kw_only=True)

    @property
    def name(self) -> str:
        """Return the name of the backend."""
        return self.backend.name

    def apply(self, user: UserTraits) -> UserTraits | Skipped | Rejected:
        """Return what the backend may see of *user*, or why it sees nothing of them."""
        if self.when is not None and not self.when(user):
            return Skipped(self.name, SkipReason.FILTERED)
        if self.only is None and not self.exclude and not self.rename:
            return user
        try:
            traits = self._filter(user.traits, "", inside=self.only is None)
        except CollisionError as collision:
            return Rejected(self.name, (_violation(collision),))
        return attrs.evolve(
            user,
            name=user.name if self._allows("name") else None,
            email=user.email if self._allows("email") else None,
            traits=traits,
            types=self._renamed_types(user.types),
        )

    def plan(self, user: UserTraits) -> Plan | Skipped:
        """Return what the backend would send for *user*, or why it would not be asked."""
        seen = self.apply(user)
        if isinstance(seen, Rejected):
            return Plan(self.name, None, violations=seen.violations)
        return seen if isinstance(seen, Skipped) else self.backend.plan(seen)

    def identify(self, user: UserTraits) -> Exchange[Outcome]:
        """Send what the backend may see of *user*."""
        seen = self.apply(user)
        if not isinstance(seen, UserTraits):
            return seen
        return (yield from self.backend.identify(seen))

    def _allows(self, name: str) -> bool:
        return name not in self.exclude and (self.only is None or name in self.only)

    def _filter(self, traits: Mapping[str, Any], parents: str, *, inside: bool) -> dict[str, Any]:
        """Return the traits that may be sent; *inside* tells whether a parent of theirs was named by `only`."""
        seen: dict[str, Any] = {}
        for name, value in traits.items():
            path = parents + name
            paths = frozenset(_prefixes(path))  # A name may have dots of its own, as a column of a file has.
            named = inside or not paths.isdisjoint(self.only or ())
            if not paths.isdisjoint(self.exclude) or not (named or is_nested(value)):
                continue
            new_name = self.rename.get(path, name)
            if new_name in seen:
                raise CollisionError(path)
            seen[new_name] = self._filter(value, f"{path}.", inside=named) if is_nested(value) else value
        return seen

    def _renamed_types(self, types: Mapping[str, TraitType]) -> dict[str, TraitType]:
        """Return the declared types by new path; that of a renamed trait wins over one declared for its new name."""
        renamed = {path: self._renamed(path) for path in types}
        return {renamed[path]: types[path] for path in sorted(types, key=lambda path: renamed[path] != path)}

    def _renamed(self, path: str) -> str:
        """Return the dotted *path* as it reads once every part of it is renamed."""
        return ".".join(
            self.rename.get(prefix, part) for prefix, part in zip(_prefixes(path), path.split("."), strict=True)
        )


def _prefixes(path: str) -> list[str]:
    """Return the dotted *path* and the paths of its parents, the outermost first."""
    parts = path.split(".")
    return [".".join(parts[: index + 1]) for index in range(len(parts))]


def _violation(collision: CollisionError) -> Violation:
    return Violation(printable(f"traits.{collision}"), "name-collision")


def as_routes(backends: Iterable[IdentityBackend | Route]) -> list[Route]:
    """Return a route to each of the *backends*.

    Raises:
        ConfigurationError: There is none, or two have one name.
    """
    routes = [backend if isinstance(backend, Route) else Route(backend) for backend in backends]
    names = [route.name for route in routes]
    if not all(names):
        raise ConfigurationError("name", "is empty", "a backend's name tells its outcomes from the others'")
    if not names:
        raise ConfigurationError("backends", "is empty", "pass at least one backend")
    if len(set(names)) < len(names):
        raise ConfigurationError(
            "backends", "holds two of one name", 'give one another, as in LogRocket(..., name="b")'
        )
    return routes


if TYPE_CHECKING:
    import httpx

# Transports keep the deadline themselves and know best what became of a request; this long they may take to say so.
_GRACE: Final = 0.5

AnyTransport = TypeVar("AnyTransport", Transport, AsyncTransport)


@attrs.frozen
class _Target(Generic[AnyTransport]):
    """One backend of a router, with a transport of its own, so that no vendor waits for another."""

    route: Route
    transport: AnyTransport


class Router:
    """Tell every backend who a user is, blocking. Safe under threads, after a fork and while the process exits.

    Args:
        backends: Backends, or routes to them; their names must differ.
        transport: An `httpx.Client` or another `Sender` that all backends share; by default each has one of ours.
        retry: How often and how soon each backend is asked again.
        timeout: Seconds after which `identify` answers, whatever has been heard by then.

    Raises:
        ConfigurationError: There is no backend, or two have one name.
    """

    def __init__(
        self,
        backends: Iterable[IdentityBackend | Route],
        *,
        transport: "httpx.Client | Sender | None" = None,
        retry: RetryPolicy | None = None,
        timeout: float = 30.0,
    ) -> None:
        self._lanes = tuple(
            _Target(route, Transport(transport, retry=retry, timeout=timeout)) for route in as_routes(backends)
        )
        self._timeout = _checked_timeout(timeout)
        self._workers: DaemonPool[Outcome] = DaemonPool()

    def identify(self, user: UserTraits) -> IdentifyReport:
        """Send *user* to every backend at once and return one outcome each, in configured order."""
        _check_user(user)
        return self._ask(user, self._lanes)

    def retry(self, report: IdentifyReport, user: UserTraits) -> IdentifyReport:
        """Send *user* again to the backends that *report* says are worth it, and return the newer report."""
        again = tuple(target for target in self._lanes if target.route.name in report.retryable)
        return report.merge(self._ask(user, again))

    def _ask(self, user: UserTraits, targets: tuple[_Target[Transport], ...]) -> IdentifyReport:
        deadline = time.monotonic() + self._timeout
        futures = [self._workers.submit(partial(_identify, target, user, deadline)) for target in targets]
        wait(futures, timeout=self._timeout + _GRACE)
        return IdentifyReport(
            tuple(_answer(target.route.name, future) for target, future in zip(targets, futures, strict=True))
        )

    def close(self) -> None:
        """End the threads and free the connections, without waiting.

        Whoever waits for a retry in `identify` gets an answer now. A request under way may lose its answer, which is
        then Unknown, so close when your own work has ended.
        """
        self._workers.close()
        for target in self._lanes:
            target.transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncRouter:
    """Tell every backend who a user is, on asyncio; as `Router`."""

    def __init__(
        self,
        backends: Iterable[IdentityBackend | Route],
        *,
        transport: "httpx.AsyncClient | AsyncSender | None" = None,
        retry: RetryPolicy | None = None,
        timeout: float = 30.0,
    ) -> None:
        self._lanes = tuple(
            _Target(route, AsyncTransport(transport, retry=retry, timeout=timeout)) for route in as_routes(backends)
        )
        self._timeout = _checked_timeout(timeout)

    async def identify(self, user: UserTraits) -> IdentifyReport:
        """Send *user* to every backend at once and return one outcome each, in configured order."""
        _check_user(user)
        return await self._ask(user, self._lanes)

    async def retry(self, report: IdentifyReport, user: UserTraits) -> IdentifyReport:
        """Send *user* again to the backends that *report* says are worth it, and return the newer report."""
        again = tuple(target for target in self._lanes if target.route.name in report.retryable)
        return report.merge(await self._ask(user, again))

    async def _ask(self, user: UserTraits, targets: tuple[_Target[AsyncTransport], ...]) -> IdentifyReport:
        outcomes = await asyncio.gather(*(_identify_async(target, user, self._timeout) for target in targets))
        return IdentifyReport(tuple(outcomes))

    async def aclose(self) -> None:
        """Free the connections."""
        for target in self._lanes:
            await target.transport.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


def _checked_timeout(timeout: float) -> float:
    if not 0 < timeout < float("inf"):  # Written so that NaN fails too.
        raise ConfigurationError("timeout", "must be a number of seconds greater than 0")
    return timeout


def _check_user(user: object) -> None:
    if not isinstance(user, UserTraits):
        raise TypeError(f"identify takes a UserTraits, not {type(user).__name__}; see UserTraits.from_mapping")


def _identify(target: _Target[Transport], user: UserTraits, deadline: float) -> Outcome:
    name = target.route.name
    try:
        return checked_outcome(name, target.transport.run(target.route.identify(user), deadline=deadline))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001  # One adapter's bug must not hide another's answer.
        return adapter_error(name, error)


async def _identify_async(target: _Target[AsyncTransport], user: UserTraits, timeout: float) -> Outcome:  # noqa: ASYNC109
    deadline = time.monotonic() + timeout
    limit = asyncio.timeout(timeout + _GRACE)
    try:
        async with limit:
            return checked_outcome(
                target.route.name, await target.transport.run(target.route.identify(user), deadline=deadline)
            )
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        task = asyncio.current_task()
        if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
            raise  # The caller's wish, and no bug.
        return _late(target.route.name) if limit.expired() else adapter_error(target.route.name, error)


def _answer(name: str, future: Future[Outcome]) -> Outcome:
    return future.result() if future.done() else _late(name)


def _late(name: str) -> Unknown:
    return Unknown(name, "no response before the deadline")
