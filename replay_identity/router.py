"""Send one user to every backend at once, with one deadline and one outcome per backend."""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from concurrent.futures import Future, wait
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Generic, Self, TypeVar, overload

import attrs

from ._paths import FieldPath, parents_of, prefixes
from ._threads import DaemonPool
from ._values import REMOVE, describe_type, is_nested
from .adapters.exchange import Exchange
from .adapters.http_adapter import encoding_name, stable_repr
from .adapters.id_rules import id_violations
from .adapters.protocols import IdentityBackend, Plan
from .adapters.responses import adapter_error, checked_outcome
from .errors import ConfigurationError, printable
from .outcomes import IdentifyReport, Outcome, Rejected, Skipped, SkipReason, Unknown, Violation
from .retry import RetryPolicy
from .traits import TraitType, TraitValue, UserTraits
from .transport import AsyncSender, AsyncTransport, Sender, Transport
from .transport.runners import MAX_IN_FLIGHT

if TYPE_CHECKING:
    import httpx

# A transport enforces the deadline itself and knows best whether a request was sent; it may take this long to report.
_GRACE_S: Final = 0.5

AnyTransport = TypeVar("AnyTransport", Transport, AsyncTransport)


class _CollisionError(Exception):
    """Two traits of one user would have the same name."""


def _check_names(_instance: object, attribute: "attrs.Attribute[Any]", names: AbstractSet[str] | None) -> None:
    if isinstance(names, str):
        problem = "expected a set of names, got a string"
        raise ConfigurationError(attribute.name, problem, f'write {attribute.name}={{"plan"}}')


@attrs.frozen
class Route:
    """A backend, and which users and traits it receives.

    A name is that of a trait, dotted for a nested one; ``name`` and ``email`` are the user's own fields.

    Attributes:
        backend: The backend.
        when: Returns True if the backend receives the user; None for every user.
        only: Names that may be sent, with everything nested in them; None for all.
        exclude: Names that must not be sent, with everything nested in them.
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

    @property
    def account(self) -> str:
        """Return the account of the backend; an empty string if the backend names none."""
        account: str = getattr(self.backend, "account", "")
        return account

    @property
    def encoding(self) -> str:
        """Return a text of all that decides what is sent for a user, besides the user and `when`, which has no text."""
        encoding: str = getattr(self.backend, "encoding", "") or encoding_name(
            type(self.backend), self.backend.limits, {}
        )
        settings = {"only": self.only, "exclude": self.exclude, "rename": self.rename}
        return "; ".join((encoding, *(f"{name}={stable_repr(value)}" for name, value in settings.items())))

    def apply(self, user: UserTraits) -> UserTraits | Skipped | Rejected:
        """Return the part of *user* that the backend receives, or why it receives nothing."""
        if self.when is not None and not self.when(user):
            return Skipped(self.name, SkipReason.FILTERED)
        # Here and not only in the adapters, since a contributed one may not look at ids.
        if violations := id_violations(user.user_id, getattr(self.backend, "allow_ids", frozenset())):
            return Rejected(self.name, violations)
        if self.only is None and not self.exclude and not self.rename:
            return user
        try:
            traits = self._filter(user.traits, "", is_included=self.only is None)
        except _CollisionError as collision:
            return Rejected(self.name, (Violation(printable(f"traits.{collision}"), "name-collision"),))
        return attrs.evolve(
            user,
            name=user.name if self._allows("name") else None,
            email=user.email if self._allows("email") else None,
            traits=traits,
            types=self._renamed_types(user.types),
        )

    def plan(self, user: UserTraits) -> Plan | Skipped:
        """Return what the backend would send for *user*, or why it would send nothing."""
        routed = self.apply(user)
        if isinstance(routed, Rejected):
            return Plan(self.name, None, violations=routed.violations)
        return routed if isinstance(routed, Skipped) else self.backend.plan(routed)

    def identify(self, user: UserTraits) -> Exchange[Outcome]:
        """Send the part of *user* that the backend receives."""
        routed = self.apply(user)
        if not isinstance(routed, UserTraits):
            return routed
        return (yield from self.backend.identify(routed))

    def removed_with(self, path: str) -> list[str]:
        """Return the paths that the backend has to remove if the trait at the dotted *path* is removed."""
        below = [name for name in self.only or () if path in parents_of(name)]
        return [self._renamed(name) for name in (path, *below) if self._receives(name)]

    def _receives(self, path: str) -> bool:
        """Return True if the backend receives the trait at the dotted *path*."""
        paths = frozenset(prefixes(path))
        return paths.isdisjoint(self.exclude) and (self.only is None or not paths.isdisjoint(self.only))

    def _removals_below(self, path: str) -> dict[str, Any]:
        """Return a removal for each trait below *path* that `only` names."""
        names, removals = self.only or frozenset(), dict[str, Any]()
        for name in names:
            parents = parents_of(name)
            if path in parents and names.isdisjoint(parents):
                FieldPath.parse(name.removeprefix(f"{path}.")).set(removals, REMOVE)
        return removals

    def _allows(self, name: str) -> bool:
        return name not in self.exclude and (self.only is None or name in self.only)

    def _filter(self, traits: Mapping[str, Any], parents: str, *, is_included: bool) -> dict[str, Any]:
        """Return the traits that may be sent; *is_included* is True if `only` names one of their parents."""
        filtered: dict[str, Any] = {}
        for name, value in traits.items():
            path = parents + name
            paths = frozenset(prefixes(path))  # A name may itself contain dots, such as that of a file's column.
            is_named = is_included or not paths.isdisjoint(self.only or ())
            if value is REMOVE and not is_named:
                value = self._removals_below(path) or None  # noqa: PLW2901  # What the route lets through.
            if not paths.isdisjoint(self.exclude) or not (is_named or is_nested(value)):
                continue
            new_name = self.rename.get(path) or self._renamed_end(path, name) if self.rename else name
            if new_name in filtered:
                raise _CollisionError(path)
            filtered[new_name] = self._filter(value, f"{path}.", is_included=is_named) if is_nested(value) else value
        return filtered

    def _renamed_types(self, types: Mapping[str, TraitType]) -> dict[str, TraitType]:
        """Return declared types by new path; the type of a renamed trait wins over one declared for its new name."""
        renamed = {path: self._renamed(path) for path in types}
        return {renamed[path]: types[path] for path in sorted(types, key=lambda path: renamed[path] != path)}

    def _renamed(self, path: str) -> str:
        return self._renamed_end(path, path)

    def _renamed_end(self, path: str, name: str) -> str:
        """Return the new name of *name*, with which *path* ends; a part of it may be renamed, too."""
        parts = zip(prefixes(path), path.split("."), strict=True)
        return ".".join([self.rename.get(prefix, part) for prefix, part in parts][-len(name.split(".")) :])


def as_routes(backends: Iterable[IdentityBackend | Route]) -> list[Route]:
    """Return a route for each of the *backends*.

    Raises:
        ConfigurationError: The list is empty, a backend lacks a name or is something else, or two have the same name.
    """
    if not hasattr(backends, "__iter__") or isinstance(backends, str):  # Callers may not check types.
        raise ConfigurationError("backends", "expected several backends", "pass a list, even of one")
    routes = [backend if isinstance(backend, Route) else Route(backend) for backend in backends]
    names = [getattr(route.backend, "name", "") for route in routes]
    if not all(names):
        raise ConfigurationError("name", "the name is empty", "give every backend a name")
    if not names:
        raise ConfigurationError("backends", "no backend was given", "pass at least one")
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        problem = f'two backends are named "{printable(repeated[0])}"'
        raise ConfigurationError("backends", problem, 'pass name= to one of them, e.g. LogRocket(..., name="b")')
    return routes


@attrs.frozen
class _Target(Generic[AnyTransport]):
    """One route with its own transport, so that no backend waits for another."""

    route: Route
    transport: AnyTransport


class Router:
    """Sends users to every backend, blocking. Safe to use from threads, after a fork and during process exit.

    Args:
        backends: Backends or routes; their names must differ.
        transport: An `httpx.Client` or another `Sender` shared by all backends; by default each has its own.
        retry: How often, and how soon, a request is retried.
        timeout: Seconds after which `identify` returns, even if a backend has not responded.

    Raises:
        ConfigurationError: There is no backend, or two have the same name.
    """

    def __init__(
        self,
        backends: Iterable[IdentityBackend | Route],
        *,
        transport: "httpx.Client | Sender | None" = None,
        retry: RetryPolicy | None = None,
        timeout: float = 30.0,
    ) -> None:
        self._targets = tuple(
            _Target(route, Transport(transport, retry=retry, timeout=timeout)) for route in as_routes(backends)
        )
        self._timeout = _checked_timeout(timeout)
        self._pool: DaemonPool[Outcome] = DaemonPool()

    @overload
    def identify(self, user: UserTraits) -> IdentifyReport: ...

    @overload
    def identify(
        self,
        user: str | None,
        *,
        name: str | None = None,
        email: str | None = None,
        traits: Mapping[str, TraitValue] | None = None,
    ) -> IdentifyReport: ...

    def identify(
        self,
        user: UserTraits | str | None,
        *,
        name: str | None = None,
        email: str | None = None,
        traits: Mapping[str, TraitValue] | None = None,
    ) -> IdentifyReport:
        """Send one user to every backend at once and return one outcome each, in configured order.

        Args:
            user: A `UserTraits`, or your own id of the user (None for an anonymous one) with the fields below.
            name: Display name.
            email: E-mail address.
            traits: Trait names to values, as in `UserTraits`.

        Raises:
            InvalidTraitsError: The id or one of the fields is invalid.
        """
        return self._send(_as_user(user, name, email, traits), self._targets)

    def retry(self, report: IdentifyReport, user: UserTraits) -> IdentifyReport:
        """Send *user* again to the backends that are retryable in *report*, and return the updated report."""
        targets = tuple(target for target in self._targets if target.route.name in report.retryable)
        return report.merge(self._send(user, targets))

    def _send(self, user: UserTraits, targets: tuple[_Target[Transport], ...]) -> IdentifyReport:
        deadline = time.monotonic() + self._timeout
        futures = [self._pool.submit(partial(_identify, target, user, deadline)) for target in targets]
        wait(futures, timeout=self._timeout + _GRACE_S)
        return IdentifyReport(
            tuple(_outcome(target.route.name, future) for target, future in zip(targets, futures, strict=True))
        )

    def close(self) -> None:
        """Stop the threads and close the connections, without waiting.

        An `identify` call that waits for a retry returns now. A request in flight may lose its response, and is then
        Unknown, so close the router after your last call has returned.
        """
        self._pool.close()
        for target in self._targets:
            target.transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncRouter:
    """Sends users to every backend, on asyncio. Takes the arguments of `Router`, and one more.

    Args:
        backends: Backends or routes; their names must differ.
        transport: An `httpx.AsyncClient` or another `AsyncSender` shared by all backends; by default each has its own.
        retry: How often, and how soon, a request is retried.
        timeout: Seconds after which `identify` returns, even if a backend has not responded.
        max_in_flight: Maximum number of requests in flight to one backend. Others wait in order, and the wait counts
            towards their timeout.

    Raises:
        ConfigurationError: No backend is given, two have the same name, or a number is invalid.
    """

    def __init__(
        self,
        backends: Iterable[IdentityBackend | Route],
        *,
        transport: "httpx.AsyncClient | AsyncSender | None" = None,
        retry: RetryPolicy | None = None,
        timeout: float = 30.0,
        max_in_flight: int = MAX_IN_FLIGHT,
    ) -> None:
        self._targets = tuple(
            _Target(route, AsyncTransport(transport, retry=retry, timeout=timeout, max_in_flight=max_in_flight))
            for route in as_routes(backends)
        )
        self._timeout = _checked_timeout(timeout)

    @overload
    async def identify(self, user: UserTraits) -> IdentifyReport: ...

    @overload
    async def identify(
        self,
        user: str | None,
        *,
        name: str | None = None,
        email: str | None = None,
        traits: Mapping[str, TraitValue] | None = None,
    ) -> IdentifyReport: ...

    async def identify(
        self,
        user: UserTraits | str | None,
        *,
        name: str | None = None,
        email: str | None = None,
        traits: Mapping[str, TraitValue] | None = None,
    ) -> IdentifyReport:
        """Send one user to every backend at once and return one outcome each; see `Router.identify`."""
        return await self._send(_as_user(user, name, email, traits), self._targets)

    async def retry(self, report: IdentifyReport, user: UserTraits) -> IdentifyReport:
        """Send *user* again to the backends that are retryable in *report*, and return the updated report."""
        targets = tuple(target for target in self._targets if target.route.name in report.retryable)
        return report.merge(await self._send(user, targets))

    async def _send(self, user: UserTraits, targets: tuple[_Target[AsyncTransport], ...]) -> IdentifyReport:
        outcomes = await asyncio.gather(*(_identify_async(target, user, self._timeout) for target in targets))
        return IdentifyReport(tuple(outcomes))

    async def aclose(self) -> None:
        """Close the connections."""
        for target in self._targets:
            await target.transport.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


def _checked_timeout(timeout: float) -> float:
    if not 0 < timeout < float("inf"):  # Written so that NaN fails too.
        raise ConfigurationError("timeout", "expected a number of seconds greater than 0")
    return timeout


def _as_user(
    user: UserTraits | str | None, name: str | None, email: str | None, traits: Mapping[str, TraitValue] | None
) -> UserTraits:
    if user is None or isinstance(user, str):
        return UserTraits(user, name=name, email=email, traits={} if traits is None else traits)
    if not isinstance(user, UserTraits):  # pyright: ignore[reportUnnecessaryIsInstance]  # Callers may not check types.
        raise TypeError(
            f"identify: expected a UserTraits or a user id, got {describe_type(user)}; see UserTraits.from_mapping"
        )
    if (name, email, traits) != (None, None, None):
        raise TypeError("identify: got a UserTraits and also name=, email= or traits=; put them into the UserTraits")
    return user


def _identify(target: _Target[Transport], user: UserTraits, deadline: float) -> Outcome:
    name = target.route.name
    try:
        return checked_outcome(name, target.transport.run(target.route.identify(user), deadline=deadline))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001  # One adapter's bug must not hide another's outcome.
        return adapter_error(name, error)


async def _identify_async(target: _Target[AsyncTransport], user: UserTraits, timeout: float) -> Outcome:  # noqa: ASYNC109
    deadline = time.monotonic() + timeout
    limit = asyncio.timeout(timeout + _GRACE_S)
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
            raise  # The caller cancelled us; the adapter has no bug.
        return _timed_out(target.route.name) if limit.expired() else adapter_error(target.route.name, error)


def _outcome(name: str, future: Future[Outcome]) -> Outcome:
    return future.result() if future.done() else _timed_out(name)


def _timed_out(name: str) -> Unknown:
    return Unknown(name, "no response before the deadline")
