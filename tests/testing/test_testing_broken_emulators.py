"""Every fault of an adapter at its emulator or in an optional capability is caught by the case for it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import attrs
import pytest
from hypothesis import settings

pytestmark = pytest.mark.slow

pytest_plugins = ["pytester"]

SUITE: Final = (Path(__file__).parent / "test_testing_conformance.py").read_text()


# Enough examples to find each fault in every run.
PROFILE: Final = """
from hypothesis import settings

settings.register_profile("broken", max_examples=100, derandomize=True, database=None, deadline=None)
settings.load_profile("broken")
"""


@pytest.fixture(autouse=True)
def _profile() -> Iterator[None]:
    """Restore the Hypothesis profile, since the inner pytest runs in this process."""
    profile = settings.get_current_profile_name()
    yield
    settings.load_profile(profile)


@attrs.frozen
class Fault:
    """A subclass of an adapter that breaks it, and the case that catches it."""

    adapter: str
    caught_by: str
    methods: str


HEAD: Final = """

import itertools
from replay_identity import Accepted, Unknown
from replay_identity.adapters import Comparison, EncodedUser, Limits

NUMBERS = itertools.count()
"""
FAULTS: Final = {
    "a payload that the vendor rejects": Fault(
        "LogRocket",
        "test_emulator_accepts_every_sent_user",
        """
def _put(self, operation, user_id, body):
    return super()._put(operation, user_id, body[:-1] + b', "plan": 1}' if len(body) > 2 else body)
""",
    ),
    "a value over the vendor's limit": Fault(
        "LogRocket",
        "test_emulator_accepts_users_at_a_limit",
        """
def _put(self, operation, user_id, body):
    return super()._put(operation, user_id, body.replace(b'"t":"', b'"t":"x'))
""",
    ),
    "a different value every time": Fault(
        "LogRocket",
        "test_sending_twice_changes_nothing",
        """
def _put(self, operation, user_id, body):
    return super()._put(operation, user_id, body.replace(b'"name":"', b'"name":"%d' % next(NUMBERS)))
""",
    ),
    "all users under one id": Fault(
        "LogRocket",
        "test_users_do_not_affect_each_other",
        """
def _put(self, operation, user_id, body):
    return super()._put(operation, "u1", body)
""",
    ),
    "a removal that is not sent": Fault(
        "LogRocket",
        "test_removal_clears_the_trait",
        """
def _put(self, operation, user_id, body):
    return super()._put(operation, user_id, body.replace(b'"plan":""', b'"old":""'))
""",
    ),
    "an outage reported as a bad user": Fault(
        "LogRocket",
        "test_newest_traits_win_after_a_fault",
        """
def identify(self, user):
    outcome = yield from super().identify(user)
    return outcome if isinstance(outcome, Accepted) else Rejected(self.name)
""",
    ),
    "a comparison that finds nothing": Fault(
        "LogRocket",
        "test_compare_finds_differences",
        """
def compare(self, user):
    yield from super().compare(user)
    return Comparison(self.name)
""",
    ),
    "an exclusion whose response is not read": Fault(
        "LogRocket",
        "test_exclude_is_accepted",
        """
def exclude(self, *, user_id=None, email=None):
    yield from super().exclude(user_id=user_id, email=email)
    return Unknown(self.name, "unread")
""",
    ),
    "a read that asks for another id": Fault(
        "Fullstory",
        "test_read_returns_what_was_sent",
        """
def get(self, user_id):
    return (yield from super().get(f"{user_id} "))
""",
    ),
    "a deletion of another user": Fault(
        "Fullstory",
        "test_delete_removes_only_that_user",
        """
def delete(self, user_id):
    return (yield from super().delete("u2"))
""",
    ),
    "a good key reported as unknown": Fault(
        "Fullstory",
        "test_good_key_is_verified",
        """
def verify(self):
    yield from super().verify()
    return Unknown(self.name, "unread")
""",
    ),
    "a garbage response that raises": Fault(
        "Fullstory",
        "test_every_response_has_a_documented_result",
        """
def poll_job(self, job_id):
    response = yield next(super().poll_job(job_id))
    return json.loads(response.body)["job"]
""",
    ),
    "a value in the message about a deletion": Fault(
        "Fullstory",
        "test_results_hide_values_and_the_key",
        """
def delete(self, user_id):
    response = yield next(super().delete(user_id))
    return Rejected(self.name, message=response.body.decode())
""",
    ),
    "a value of one user in the outcome of another": Fault(
        "Together",
        "test_results_hide_values_and_the_key",
        """
def identify_many(self, users):
    response = yield self.plan(users[0]).request
    return tuple(Rejected(self.name, message=response.body.decode()) for user in users)
""",
    ),
    "a batch without a user": Fault(
        "Fullstory",
        "test_batch_matches_the_plan",
        """
def encode_for_batch(self, user):
    item = super().encode_for_batch(user)
    return EncodedUser(self.name, None, item.adjustments, item.violations)
""",
    ),
    "a batch whose outcomes are unknown": Fault(
        "Fullstory",
        "test_batch_stores_the_same_users",
        """
def collect_job(self, job_id, entries):
    yield from super().collect_job(job_id, entries)
    return tuple(Unknown(self.name, "unread") for _ in entries)
""",
    ),
    "a missing outcome of one of many users": Fault(
        "Together",
        "test_each_of_many_users_has_an_outcome",
        """
def identify_many(self, users):
    return (yield from Together.identify_many(self, users[:1]))
""",
    ),
    "a user rejected because of another": Fault(
        "Together",
        "test_bad_user_does_not_fail_the_others",
        """
def identify_many(self, users):
    outcomes = yield from Together.identify_many(self, users)
    rejected = [outcome for outcome in outcomes if isinstance(outcome, Rejected)]
    return tuple(rejected[0] for _ in users) if rejected else outcomes
""",
    ),
    "one request for several users": Fault(
        "Together",
        "test_multi_identify_stores_the_same_users",
        """
def identify_many(self, users):
    outcome = yield from self.identify(users[0])
    return (outcome,) * len(users)
""",
    ),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_broken_adapter_is_caught(pytester: pytest.Pytester, fault: Fault) -> None:
    """The case for the fault fails, without errors in other places."""
    methods = fault.methods.replace("\n", "\n    ")
    broken = f"class Broken({fault.adapter}):{methods}\n\n{fault.adapter} = Broken\n"
    pytester.makeconftest(PROFILE)
    pytester.makepyfile(test_broken=SUITE + HEAD + broken)

    result = pytester.runpytest_inprocess(
        *("-q", "-p", "no:randomly", "-p", "no:cacheprovider"),
        *("-k", f"Test{fault.adapter} and {fault.caught_by}"),
    )

    outcomes = result.parseoutcomes()
    assert outcomes.get("failed", 0) > 0, outcomes
    assert "errors" not in outcomes


@pytest.mark.parametrize(
    ("attribute", "message"),
    [
        (
            'not_applicable = {"test_nothing": "why"}',
            "*not_applicable: test_nothing is not a case of the suite",
        ),
        ('not_applicable = {"key": "why"}', "*not_applicable: key is not a case of the suite"),
        (
            'not_applicable = {"test_removal_clears_the_trait": " "}',
            "*not_applicable: the reason for test_removal_clears_the_trait is missing",
        ),
    ],
)
def test_not_applicable_needs_a_case_and_a_reason(pytester: pytest.Pytester, attribute: str, message: str) -> None:
    """A wrong name or an empty reason is an error at import."""
    pytester.makepyfile(
        f"from replay_identity.testing import BackendConformance\n\nclass TestIt(BackendConformance):\n    {attribute}"
    )

    result = pytester.runpytest_inprocess("-q", "-p", "no:cacheprovider")

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([message])


def test_limit_cases_are_skipped_without_limits(pytester: pytest.Pytester) -> None:
    """There are no users at or over a limit."""
    methods = "\n    limits = property(lambda self: Limits())"
    pytester.makepyfile(test_broken=f"{SUITE}{HEAD}class Broken(Together):{methods}\n\nTogether = Broken\n")

    result = pytester.runpytest_inprocess("-q", "-rs", "-p", "no:cacheprovider", "-k", "TestTogether and limit")

    assert result.parseoutcomes().get("skipped") == 4
    assert "the vendor publishes no limits of single fields" in result.stdout.str()
    assert "failed" not in result.parseoutcomes()


def test_not_applicable_skips_with_the_reason(pytester: pytest.Pytester) -> None:
    """The case does not run, and pytest shows the reason."""
    case = "test_busy_vendor_is_unavailable"
    pytester.makepyfile(
        "from replay_identity.testing import BackendConformance\n\nclass TestIt(BackendConformance):\n"
        f"    not_applicable = {{'{case}': 'the vendor is never busy'}}"
    )

    result = pytester.runpytest_inprocess("-q", "-rs", "-p", "no:cacheprovider", "-k", case)

    assert "the vendor is never busy" in result.stdout.str()
    assert result.parseoutcomes().keys() <= {"skipped", "deselected"}


@pytest.mark.parametrize(
    ("methods", "case", "message"),
    [
        ("", "test_redirect_is_misconfigured", "*NotImplementedError*"),
        ("", "test_users_do_not_affect_each_other", "*make_emulator is missing*"),
        (
            "def make_backend(self, **settings): return LogRocket(self.key, **settings)",
            "test_documented",
            "*NotImpl*",
        ),
        (
            "make_backend, make_emulator = TestLogRocket.make_backend, TestLogRocket.make_emulator",
            "test_users_do_not_affect_each_other",
            "*NotImplementedError*",
        ),
    ],
)
def test_missing_hooks_fail_the_cases(pytester: pytest.Pytester, methods: str, case: str, message: str) -> None:
    """Without an emulator or a reason, half of the suite would be skipped silently."""
    head = "\n\nclass TestIt(BackendConformance):\n    key = 'acme:shop:canary-key'\n"
    pytester.makepyfile(SUITE + head + f"    {methods}\n")

    result = pytester.runpytest_inprocess("-q", "-p", "no:cacheprovider", "-k", f"TestIt and {case}")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([message])
