"""End to end under faults: each has one clear outcome, shows no values, and loses nothing."""

import asyncio
import logging
import traceback
from collections.abc import Iterator

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.profiles import examples
from support.vendors import Vendors, running_vendors

from replay_identity import (
    Accepted,
    AsyncRouter,
    IdentifyReport,
    Misconfigured,
    Outcome,
    Rejected,
    RetryPolicy,
    Router,
    Unavailable,
    Unknown,
    UserTraits,
)
from replay_identity.emulator import Fault, FullstoryEmulator, Level, LogRocketEmulator
from replay_identity.outcomes import explain
from replay_identity.transport import unpacking

pytestmark = pytest.mark.slow

ID, NAME, EMAIL, VALUE = "canary-id-4711", "Canary Name", "canary@example.com", "canary value 0815"
FULLSTORY_KEY, LOGROCKET_KEY = "na1.canarykeyfullstory", "acme:shop:canarykeylogrocket"
CANARIES = [ID, NAME, EMAIL, VALUE, FULLSTORY_KEY, LOGROCKET_KEY, "canary"]
USER = UserTraits(ID, name=NAME, email=EMAIL, traits={"note": VALUE, "deep": {"note": VALUE}})
QUICK = RetryPolicy(attempts=2, wait_initial=0.001, wait_max=0.01)
QUOTE = f'{{"message": "cannot take {VALUE} of {ID}", "error": "cannot take {VALUE} of {ID}", "code": "bad"}}'.encode()


@pytest.fixture(scope="module")
def _running_vendors() -> Iterator[Vendors]:
    fullstory = FullstoryEmulator(api_keys={FULLSTORY_KEY: Level.ADMIN})
    logrocket = LogRocketEmulator(api_key=LOGROCKET_KEY)
    with running_vendors(fullstory, logrocket, keys=(FULLSTORY_KEY, LOGROCKET_KEY)) as vendors:
        yield vendors


def identify_on_both(vendors: Vendors, user: UserTraits = USER) -> list[IdentifyReport]:
    """Identify with both routers and return both reports."""

    async def main() -> IdentifyReport:
        async with AsyncRouter(vendors.backends, retry=QUICK, timeout=1.0) as router:
            return await router.identify(user)

    with Router(vendors.backends, retry=QUICK, timeout=1.0) as router:
        return [router.identify(user), asyncio.run(main())]


FAULT_CASES: dict[str, tuple[Fault, type[Outcome]]] = {
    "HTML": (Fault(garbage="html"), Unknown),
    "an empty body": (Fault(garbage="empty"), Accepted),
    "broken JSON": (Fault(garbage="broken"), Unknown),
    "100 MB": (Fault(garbage="huge", size=100 * 2**20), Unknown),
    "a trickle": (Fault(garbage="drip", pause=0.3), Unknown),
    "nothing": (Fault(hang=True), Unknown),
    "a connection dropped before applying": (Fault(drop="before"), Unknown),
    "a connection dropped after applying": (Fault(drop="after"), Unknown),
    "a redirect": (Fault(status=302, headers={"location": f"https://other.example/{ID}"}), Misconfigured),
    "too many requests": (Fault(status=429, headers={"Retry-After": "3600"}), Unavailable),
    "an internal error": (Fault(status=500, body=QUOTE), Unavailable),
    "maintenance in HTML": (Fault(status=503, body=b"<h1>" + ID.encode()), Unavailable),
    "a gateway that lost the response": (Fault(status=504), Unknown),
    "a rejection that quotes": (Fault(status=400, body=QUOTE), Rejected),
    "a rejection in HTML that quotes": (Fault(status=422, body=b"<p>" + VALUE.encode() + b"</p>"), Rejected),
    "an invalid key": (Fault(status=401, body=QUOTE), Misconfigured),
    "a key without permission": (Fault(status=403, body=QUOTE), Misconfigured),
}


@pytest.mark.parametrize("case", FAULT_CASES)
def test_every_fault_has_one_outcome_without_values(
    vendors: Vendors, case: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each backend has one outcome of the right kind, and no personal value is shown anywhere."""
    monkeypatch.setattr(unpacking, "MAX_RESPONSE_BYTES", 2**20)
    fault, expected = FAULT_CASES[case]
    vendors.inject(attrs.evolve(fault, times=None))

    with caplog.at_level(logging.DEBUG):
        reports = identify_on_both(vendors)

    for report in reports:
        assert [type(outcome) for outcome in report.outcomes] == [expected, expected]
    texts = [repr(reports), caplog.text, *(explain(outcome) for report in reports for outcome in report.outcomes)]
    for report in reports:
        try:
            report.raise_for_status()
        except ExceptionGroup as error:
            texts.append("".join(traceback.format_exception(error)))
    assert len(texts) == (6 if expected is Accepted else 8)
    assert not [canary for canary in CANARIES for text in texts if canary in text]


@pytest.mark.parametrize("case", FAULT_CASES)
def test_a_retry_after_a_fault_succeeds(vendors: Vendors, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both vendors have the newest traits."""
    monkeypatch.setattr(unpacking, "MAX_RESPONSE_BYTES", 2**20)
    vendors.inject(attrs.evolve(FAULT_CASES[case][0], times=None))
    newest = attrs.evolve(USER, traits={"plan": "new"})

    with Router(vendors.backends, retry=QUICK, timeout=1.0) as router:
        router.identify(attrs.evolve(USER, traits={"plan": "old"}))
        report = router.identify(newest)
        vendors.clear_faults()
        again = router.retry(report, newest) if report.retryable else router.identify(newest)

    stored = vendors.fullstory.by_uid(ID)
    assert again.status == "ok"
    assert stored is not None
    assert stored.properties == {"plan": "new"}
    assert vendors.logrocket.users[ID].traits == {"plan": "new"}


FAULTS = st.one_of(
    st.builds(Fault, status=st.sampled_from([429, 500, 502, 503, 504])),
    st.builds(Fault, drop=st.sampled_from(["before", "after"])),
    st.builds(Fault, garbage=st.sampled_from(["html", "empty", "broken"])),
)


@settings(max_examples=examples(25), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    plans=st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.lists(FAULTS, max_size=2)), min_size=1, max_size=6)
)
def test_converges_on_the_newest_traits(vendors: Vendors, plans: list[tuple[str, list[Fault]]]) -> None:
    """After any sequence of updates under passing faults, both vendors have the newest value."""
    vendors.reset()

    report, user = IdentifyReport(()), USER
    with Router(vendors.backends, retry=QUICK) as router:
        for plan, faults in plans:
            for fault in faults:
                vendors.inject(fault)
            user = UserTraits("u1", traits={"plan": plan})
            report = router.identify(user)
        vendors.clear_faults()
        for _ in range(3):
            report = router.retry(report, user)

    stored = vendors.fullstory.by_uid("u1")
    assert stored is not None
    assert all(isinstance(outcome, Accepted) for outcome in report.outcomes)
    assert stored.properties == {"plan": plans[-1][0]}
    assert vendors.logrocket.users["u1"].traits == {"plan": plans[-1][0]}
