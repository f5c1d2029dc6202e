"""How often each user was written to, and with what."""

from collections import Counter
from collections.abc import Mapping, Sequence

import attrs

from .answer import JsonValue


class HistoryNotKeptError(RuntimeError):
    """The history was asked for, and the emulator was made without `keeps_history=True`."""

    def __str__(self) -> str:
        """Name the setting to change."""
        return "No history was kept. Make the emulator with keeps_history=True."


@attrs.define(kw_only=True)
class Applied:
    """Counts what was applied by user, and keeps it in its order if told to."""

    keeps_history: bool = False
    total: int = attrs.field(init=False, default=0)
    _counts: Counter[str] = attrs.field(init=False, factory=Counter[str], repr=False)
    _history: dict[str, list[JsonValue]] = attrs.field(init=False, factory=dict[str, list[JsonValue]], repr=False)

    @property
    def counts(self) -> Mapping[str, int]:
        """How often each user was written to, as it stands now."""
        return dict(self._counts)

    def note(self, user_id: str, said: JsonValue) -> None:
        """Take note that what was *said* about a user was applied."""
        self.total += 1
        self._counts[user_id] += 1
        if self.keeps_history:
            self._history.setdefault(user_id, []).append(said)

    def history(self, user_id: str) -> Sequence[JsonValue]:
        """Return what was applied to a user, oldest first.

        Raises:
            HistoryNotKeptError: The emulator keeps none.
        """
        if not self.keeps_history:
            raise HistoryNotKeptError
        return tuple(self._history.get(user_id, ()))

    def as_json(self) -> JsonValue:
        """Return the counts for people to look at."""
        return {"total": self.total, "users": dict(self.counts)}

    def clear(self) -> None:
        """Forget everything."""
        self.total = 0
        self._counts.clear()
        self._history.clear()
