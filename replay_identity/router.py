"""One identify call to every backend: fan out, wait for one deadline, reconcile the answers."""

import asyncio
import time
from collections.abc import Iterable
from concurrent.futures import Future, wait
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Final, Generic, Self, TypeVar

import attrs

from .backend import IdentityBackend
from .errors import ConfigurationError
from .guarding import broken, own
from .model import UserTraits
from .outcome import IdentifyReport, Outcome, Unknown
from .retry import RetryPolicy
from .route import Route, routes_to
from .transport import AsyncSender, AsyncTransport, Sender, Transport
from .workers import Workers

if TYPE_CHECKING:
    import httpx

# Transports keep the deadline themselves and know best what became of a request; this long they may take to say so.
_GRACE: Final = 0.5

AnyTransport = TypeVar("AnyTransport", Transport, AsyncTransport)


@attrs.frozen
class Lane(Generic[AnyTransport]):
    """One backend of a router, with a transport of its own, so that no vendor waits for another."""

    route: Route
    transport: AnyTransport


class Router:
    """Tell every backend who a user is, blocking. Safe under threads, after a fork and while the process exits.

    Args:
        backends: Backends, or routes to them; their names must differ.
        client: An `httpx.Client` or another `Sender` that all backends share; by default each has one of ours.
        retry: How often and how soon each backend is asked again.
        timeout: Seconds after which `identify` answers, whatever has been heard by then.

    Raises:
        ConfigurationError: There is no backend, or two have one name.
    """

    def __init__(
        self,
        backends: Iterable[IdentityBackend | Route],
        *,
        client: "httpx.Client | Sender | None" = None,
        retry: RetryPolicy | None = None,
        timeout: float = 30.0,
    ) -> None:
        self._lanes = tuple(
            Lane(route, Transport(client, retry=retry, timeout=timeout)) for route in routes_to(backends)
        )
        self._timeout = _checked_timeout(timeout)
        self._workers: Workers[Outcome] = Workers()

    def identify(self, user: UserTraits) -> IdentifyReport:
        """Send *user* to every backend at once and return one outcome each, in configured order."""
        _check_user(user)
        return self._ask(user, self._lanes)

    def retry(self, report: IdentifyReport, user: UserTraits) -> IdentifyReport:
        """Send *user* again to the backends that *report* says are worth it, and return the newer report."""
        again = tuple(lane for lane in self._lanes if lane.route.name in report.retryable)
        return report.merge(self._ask(user, again))

    def _ask(self, user: UserTraits, lanes: tuple[Lane[Transport], ...]) -> IdentifyReport:
        deadline = time.monotonic() + self._timeout
        futures = [self._workers.submit(partial(_identify, lane, user, deadline)) for lane in lanes]
        wait(futures, timeout=self._timeout + _GRACE)
        return IdentifyReport(
            tuple(_answer(lane.route.name, future) for lane, future in zip(lanes, futures, strict=True))
        )

    def close(self) -> None:
        """End the threads and free the connections, without waiting.

        Whoever waits for a retry in `identify` gets an answer now. A request under way may lose its answer, which is
        then Unknown, so close when your own work has ended.
        """
        self._workers.close()
        for lane in self._lanes:
            lane.transport.close()

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
        client: "httpx.AsyncClient | AsyncSender | None" = None,
        retry: RetryPolicy | None = None,
        timeout: float = 30.0,
    ) -> None:
        self._lanes = tuple(
            Lane(route, AsyncTransport(client, retry=retry, timeout=timeout)) for route in routes_to(backends)
        )
        self._timeout = _checked_timeout(timeout)

    async def identify(self, user: UserTraits) -> IdentifyReport:
        """Send *user* to every backend at once and return one outcome each, in configured order."""
        _check_user(user)
        return await self._ask(user, self._lanes)

    async def retry(self, report: IdentifyReport, user: UserTraits) -> IdentifyReport:
        """Send *user* again to the backends that *report* says are worth it, and return the newer report."""
        again = tuple(lane for lane in self._lanes if lane.route.name in report.retryable)
        return report.merge(await self._ask(user, again))

    async def _ask(self, user: UserTraits, lanes: tuple[Lane[AsyncTransport], ...]) -> IdentifyReport:
        outcomes = await asyncio.gather(*(_identify_async(lane, user, self._timeout) for lane in lanes))
        return IdentifyReport(tuple(outcomes))

    async def aclose(self) -> None:
        """Free the connections."""
        for lane in self._lanes:
            await lane.transport.aclose()

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


def _identify(lane: Lane[Transport], user: UserTraits, deadline: float) -> Outcome:
    name = lane.route.name
    try:
        return own(name, lane.transport.run(lane.route.identify(user), deadline=deadline))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001  # One adapter's bug must not hide another's answer.
        return broken(name, error)


async def _identify_async(lane: Lane[AsyncTransport], user: UserTraits, timeout: float) -> Outcome:  # noqa: ASYNC109
    deadline = time.monotonic() + timeout
    limit = asyncio.timeout(timeout + _GRACE)
    try:
        async with limit:
            return own(lane.route.name, await lane.transport.run(lane.route.identify(user), deadline=deadline))
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        task = asyncio.current_task()
        if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
            raise  # The caller's wish, and no bug.
        return _late(lane.route.name) if limit.expired() else broken(lane.route.name, error)


def _answer(name: str, future: Future[Outcome]) -> Outcome:
    return future.result() if future.done() else _late(name)


def _late(name: str) -> Unknown:
    return Unknown(name, "no answer before the deadline")
