"""The built-in adapters pass the conformance suite."""

import json
from collections.abc import Sequence
from datetime import date

import attrs
import orjson

from replay_identity import Fullstory, LogRocket, Outcome, Rejected, UserTraits
from replay_identity.adapters import (
    Exchange,
    IdentityBackend,
    Limit,
    Limits,
    OnViolation,
    Plan,
    Request,
    Response,
    Sleep,
    Unit,
)
from replay_identity.emulator import BatchRules, FullstoryEmulator, Level, LogRocketEmulator
from replay_identity.outcomes import Violation
from replay_identity.testing import BackendConformance


class TestLogRocket(BackendConformance):
    """LogRocket passes."""

    key = "acme:shop:canary-key"

    def make_backend(self, *, base_url: str | None = None, on_violation: OnViolation = "reject") -> IdentityBackend:
        """Return the backend."""
        return LogRocket(self.key, base_url=base_url, on_violation=on_violation)

    def other_accounts(self) -> Sequence[IdentityBackend]:
        """Return one of another organisation, and one of another application."""
        return LogRocket("other:shop:canary-key"), LogRocket(self.key, app="other")

    def accepted(self, request: Request) -> Response:
        """Return the user as sent."""
        user_id = request.url.rpartition("/")[2]
        return Response(200, body=json.dumps({"userID": user_id, "traits": {}}).encode())

    def make_emulator(self) -> LogRocketEmulator:
        """Return one that knows the key."""
        return LogRocketEmulator(api_key=self.key)

    def stored_user(self, emulator: LogRocketEmulator, user_id: str) -> object:
        """Return the user."""
        user = emulator.users.get(user_id)
        return None if user is None else user.as_json()


class TestFullstory(BackendConformance):
    """Fullstory passes."""

    key = "na1.canary-key"

    def make_backend(self, *, base_url: str | None = None, on_violation: OnViolation = "reject") -> Fullstory:
        """Return the backend."""
        return Fullstory(self.key, base_url=base_url, on_violation=on_violation)

    def other_accounts(self) -> Sequence[IdentityBackend]:
        """Return one with another key: it may be another organisation's."""
        return (Fullstory("na1.other"),)

    def accepted(self, request: Request) -> Response:
        """Return the user as sent."""
        sent = orjson.loads(request.body or b"{}")
        return Response(200, body=orjson.dumps({"id": "1", **sent}))

    def make_emulator(self) -> FullstoryEmulator:
        """Return one that knows the key."""
        return FullstoryEmulator(api_keys={self.key: Level.ADMIN}, batch=BatchRules(job_polls=1))

    def stored_user(self, emulator: FullstoryEmulator, user_id: str) -> object:
        """Return the user."""
        user = emulator.by_uid(user_id)
        return None if user is None else (user.uid, user.display_name, user.email, dict(user.properties))


@attrs.frozen
class Together:
    """A LogRocket with `identify_many`, a rule beyond its limits, and no other capability."""

    logrocket: LogRocket
    name: str = "logrocket"

    @property
    def limits(self) -> Limits:
        """Return LogRocket's limits."""
        return self.logrocket.limits

    @property
    def account(self) -> str:
        """Return LogRocket's account."""
        return self.logrocket.account

    @property
    def encoding(self) -> str:
        """Return LogRocket's encoding."""
        return self.logrocket.encoding

    @property
    def max_users(self) -> Limit:
        """Return a made-up limit."""
        return Limit(maximum=100, unit=Unit.USERS, source="made up", read_on=date(2026, 11, 29), rule="users")

    def plan(self, user: UserTraits, /) -> Plan:
        """Return LogRocket's plan, or a violation of the made-up rule."""
        plan = self.logrocket.plan(user)
        return (
            Plan(self.name, None, (), (Violation("user_id", "no-e-or-long-address"),)) if _is_rejected(user) else plan
        )

    def identify(self, user: UserTraits, /) -> Exchange[Outcome]:
        """Send the user after a sleep."""
        if _is_rejected(user):
            return Rejected(self.name, self.plan(user).violations)
        yield Sleep(0.0)
        return (yield from self.logrocket.identify(user))

    def identify_many(self, users: Sequence[UserTraits], /) -> Exchange[tuple[Outcome, ...]]:
        """Send the users one after another."""
        if not users:
            return ()
        first = yield from self.identify(users[0])
        return (first, *(yield from self.identify_many(users[1:])))


def _is_rejected(user: UserTraits) -> bool:
    # "uv" is what Hypothesis tries first, so that a user is rejected however few examples there are.
    return user.user_id == "uv" or "e" in (user.user_id or "") or len(user.email or "") > 100


class TestTogether(TestLogRocket):
    """A vendor with several users per request and a rule beyond its limits passes."""

    def make_backend(self, *, base_url: str | None = None, on_violation: OnViolation = "reject") -> IdentityBackend:
        """Return the backend."""
        return Together(LogRocket(self.key, base_url=base_url, on_violation=on_violation))

    def satisfies_other_rules(self, user: UserTraits) -> bool:
        """Return True if the made-up rule accepts the user."""
        return not _is_rejected(user)
