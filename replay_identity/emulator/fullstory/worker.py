"""Running batch imports while requests are served."""

import asyncio

import attrs

from .jobs import Jobs

# Items applied in one go, during which no request is served: a few milliseconds.
SLICE = 100

# Items that a request may wait for. So few are there as soon as they are due, which spares tests the waiting.
AT_ONCE = 500


@attrs.define
class Worker:
    """Applies what is due, in the server's own thread."""

    jobs: Jobs
    _task: asyncio.Task[None] | None = attrs.field(init=False, default=None, repr=False)
    _is_asleep: bool = attrs.field(init=False, default=False)

    def nudge(self) -> None:
        """Apply what is due now if it is little, and see to everything else in the background."""
        wait = self.jobs.work(AT_ONCE if self.jobs.due_items() <= AT_ONCE else 0)
        if wait is None or self._is_at_work():
            return

        if self._task is not None:
            self._task.cancel()
        self._is_asleep = False
        self._task = asyncio.create_task(self._keep_up())

    def _is_at_work(self) -> bool:
        return self._task is not None and not self._task.done() and not self._is_asleep

    async def _keep_up(self) -> None:
        while (wait := self.jobs.work(SLICE)) is not None:
            self._is_asleep = wait > 0
            await asyncio.sleep(wait)
            self._is_asleep = False
