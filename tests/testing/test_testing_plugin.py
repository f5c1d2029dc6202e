"""The pytest plugin: emulators, the scripted transport, and the mark `reconciled`."""

import pytest

pytest_plugins = ["pytester"]

HEAD = """
import pytest
from replay_identity import REMOVE, Fullstory, LogRocket, Router, UserTraits
from replay_identity.adapters import Response

def backends(fullstory_url, logrocket_url):
    return (Fullstory("na1.emulator", base_url=fullstory_url), LogRocket("acme:shop:emulator", base_url=logrocket_url))

def send(user, *backends):
    with Router(backends) as router:
        assert router.identify(user).status == "ok"

ADA = UserTraits("u1", name="Ada", traits={"plan": "pro", "seats": 7, "rate": 0.5, "tags": ["a", "b"]})
"""


def run(pytester: pytest.Pytester, *lines: str) -> pytest.RunResult:
    """Run a module of tests."""
    pytester.makepyfile("\n".join((HEAD, *lines)))
    return pytester.runpytest_inprocess("-p", "no:randomly", "-p", "no:cacheprovider")


BOTH = "fullstory_emulator, logrocket_emulator, fullstory_url, logrocket_url"


def test_emulators_are_empty_in_every_test(pytester: pytest.Pytester) -> None:
    """Users of an earlier test are gone."""
    test = """
        both = backends(fullstory_url, logrocket_url)
        assert fullstory_emulator.users == {}
        assert logrocket_emulator.users == {}
        send(ADA, *both)
        assert fullstory_emulator.by_uid("u1").properties["plan"] == "pro"
        assert logrocket_emulator.users["u1"].traits["seats"] == "7"
    """
    result = run(pytester, *(f"def test_{number}({BOTH}):{test}" for number in (1, 2)))

    result.assert_outcomes(passed=2)


def test_scripted_transport_plays_responses(pytester: pytest.Pytester) -> None:
    """The transport runs exchanges itself, and its sender works in a router."""
    result = run(
        pytester,
        """
def test_script(scripted_transport):
    scripted_transport.add(Response(429, {"retry-after": "3"}), Response(400))
    outcome = scripted_transport.run(LogRocket("acme:shop:emulator").identify(ADA))
    assert type(outcome).__name__ == "Rejected"
    assert scripted_transport.waits == [3.0]
    assert len(scripted_transport.requests) == 2

def test_router(scripted_transport):
    scripted_transport.add(Response(401))
    with Router([LogRocket("acme:shop:emulator")], transport=scripted_transport.sender) as router:
        assert type(router.identify(ADA)["logrocket"]).__name__ == "Misconfigured"
""",
    )

    result.assert_outcomes(passed=2)


def test_reconciled_passes_for_equal_users(pytester: pytest.Pytester) -> None:
    """Numbers and lists equal their text forms at LogRocket."""
    result = run(
        pytester,
        f"""
@pytest.mark.reconciled
def test_it({BOTH}):
    both = backends(fullstory_url, logrocket_url)
    send(ADA, *both)
    send(UserTraits("u1", traits={{"plan": "free", "tags": ["b"], "company": {{"size": 12}}}}), *both)
""",
    )

    result.assert_outcomes(passed=1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ('send(UserTraits("u2", name="Grace"), both[0])', "only Fullstory has this user"),
        ('send(UserTraits("u2", name="Grace"), both[1])', "only LogRocket has this user"),
        ('send(UserTraits("u1", traits={"plan": "free"}), both[1])', "traits.plan differs"),
        ('send(UserTraits("u1", traits={"old": True}), both[0])', "only Fullstory has traits.old"),
        ('send(UserTraits("u1", traits={"old": True}), both[1])', "only LogRocket has traits.old"),
        ('send(UserTraits("u1", traits={"plan": REMOVE}), both[1])', "only Fullstory has traits.plan"),
    ],
)
def test_reconciled_fails_for_different_users(pytester: pytest.Pytester, change: str, difference: str) -> None:
    """The failure names the path but no value; an unmarked test passes."""
    body = f"({BOTH}):\n    both = backends(fullstory_url, logrocket_url)\n    send(ADA, *both)\n    {change}\n"
    result = run(pytester, f"@pytest.mark.reconciled\ndef test_marked{body}", f"def test_unmarked{body}")

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["the emulators have different users:", f"<*>: {difference}"])
    result.stdout.no_fnmatch_line("*<*: *free*")


def test_reconciled_needs_both_emulators(pytester: pytest.Pytester) -> None:
    """Without one of them there would be nothing to compare."""
    result = run(pytester, "@pytest.mark.reconciled\ndef test_it(fullstory_emulator): pass")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*; add logrocket_emulator"])


def test_reconciled_shows_the_failure_of_the_test(pytester: pytest.Pytester) -> None:
    """A failing test is not compared."""
    result = run(pytester, f"@pytest.mark.reconciled\ndef test_it({BOTH}): assert 1 == 2")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*assert 1 == 2"])
