"""The adapter against the emulator in every form of a success."""

from typing import get_args

import pytest

from replay_identity import REMOVE, Accepted, LogRocket, UserTraits
from replay_identity.adapters import Comparison
from replay_identity.bulk import sync
from replay_identity.emulator import LogRocketEmulator, running
from replay_identity.emulator.logrocket.api import IdentifyResponse
from replay_identity.transport import Transport

KEY = "acme:shop:emulator"


@pytest.mark.parametrize("form", get_args(IdentifyResponse))
def test_every_form_of_a_success_is_accepted_once(form: IdentifyResponse) -> None:
    """One request for each user, whether or not the response shows the user."""
    emulator = LogRocketEmulator(identify_response=form)
    with running(emulator) as server:
        users = [UserTraits(f"{number}", traits={"plan": "pro"}) for number in range(1, 51)]
        report = sync(users, [LogRocket(KEY, base_url=server.url)], ledger=None)["logrocket"]

    assert (report.accepted, report.pending, report.problem) == (50, 0, None)
    assert len(emulator.requests) == 50
    assert {user.traits["plan"] for user in emulator.users.values()} == {"pro"}


@pytest.mark.parametrize("form", get_args(IdentifyResponse))
def test_only_a_shown_user_is_verified(form: IdentifyResponse) -> None:
    """And only then are nested traits removed, and users compared."""
    emulator = LogRocketEmulator(identify_response=form)
    with running(emulator) as server, Transport() as transport:
        backend = LogRocket(KEY, base_url=server.url)
        first = transport.run(backend.identify(UserTraits("42", traits={"a": {"x": "1"}})))
        second = transport.run(backend.identify(UserTraits("42", traits={"a": REMOVE})))
        comparison = transport.run(backend.compare(UserTraits("42", traits={"b": "1"})))

    shows_user = form in {"user", "numeric-id"}
    assert isinstance(first, Accepted)
    assert isinstance(second, Accepted)
    assert [first.verified, second.verified] == [shows_user, shows_user]
    assert ("a.x" in emulator.users["42"].traits) is not shows_user
    assert isinstance(comparison, Comparison) is shows_user
