"""Every way in which an adapter can be broken is caught by the case that is there for it."""

from collections.abc import Iterator
from typing import Final

import attrs
import pytest
from hypothesis import settings
from pages import ROOT, blocks

pytestmark = pytest.mark.slow

pytest_plugins = ["pytester"]

PAGE: Final = ROOT / "docs" / "howto" / "add-a-vendor.md"
FILES: Final = {block.argument: block.text for block in blocks(PAGE) if block.argument.endswith(".py")}
ADAPTER: Final = FILES["replay_identity_acme/__init__.py"]
SUITE: Final = FILES["tests/test_acme.py"]
# As many examples as find each fault at every run.
PROFILE: Final = """
from hypothesis import settings

settings.register_profile("broken", max_examples=300, derandomize=True, database=None)
settings.load_profile("broken")
"""


@attrs.frozen
class Fault:
    """One way to break Acme's adapter, and the case that catches it."""

    caught_by: str
    right: str
    wrong: str


SEND: Final = "        response = yield plan.request\n"
POST: Final = "json.dumps(body).encode())"
ACCEPTED: Final = 'if response.is_success and content.get("ok") is True:'
FAULTS: Final = {
    "a limit that is one too high": Fault(
        "test_users_over_a_limit_are_rejected",
        "user.user_id, USER_ID)",
        "user.user_id, attrs.evolve(USER_ID, maximum=65))",
    ),
    "a limit that is one too low": Fault(
        "test_users_at_a_limit_are_sent_unchanged",
        "user.user_id, USER_ID)",
        "user.user_id, attrs.evolve(USER_ID, maximum=63))",
    ),
    "bytes counted as characters": Fault(
        "test_users_over_a_limit_are_rejected",
        "value, TRAIT_VALUE)",
        "value, attrs.evolve(TRAIT_VALUE, unit=Unit.CHARACTERS))",
    ),
    "characters counted as bytes": Fault(
        "test_users_at_a_limit_are_sent_unchanged",
        "user.name, NAME)",
        "user.name, attrs.evolve(NAME, unit=Unit.UTF8_BYTES))",
    ),
    "a cut of which nothing is recorded": Fault(
        "test_adapt_mode_respects_limits_and_records_losses",
        "return adaptation.truncate(path, value, TRAIT_VALUE)",
        "return TRAIT_VALUE.truncate(value)",
    ),
    "a cut that is one too long": Fault(
        "test_adapt_mode_respects_limits_and_records_losses",
        "return adaptation.truncate(path, value, TRAIT_VALUE)",
        "return value[: len(adaptation.truncate(path, value, TRAIT_VALUE)) + 1]",
    ),
    "an id that is cut": Fault(
        "test_users_over_a_limit_are_rejected",
        'adaptation.check("user_id", user.user_id, USER_ID)',
        "user = attrs.evolve(user, user_id=USER_ID.truncate(user.user_id))",
    ),
    "a trait that is forgotten": Fault(
        "test_every_loss_is_recorded",
        "for name, value in traits.items()",
        "for name, value in list(traits.items())[:1]",
    ),
    "the end of a list that is forgotten": Fault(
        "test_every_loss_is_recorded", "for item in value]", "for item in value[:1]]"
    ),
    "a number that is rounded": Fault(
        "test_every_loss_is_recorded",
        "        return value\n",
        "        return round(value) if isinstance(value, float) else value\n",
    ),
    "a loss for a backend that was to refuse": Fault(
        "test_reject_mode_loses_nothing", 'Adaptation(adapt=self.on_violation == "adapt")', "Adaptation(adapt=True)"
    ),
    "a list rejected that could be sent": Fault(
        "test_valid_users_are_never_rejected",
        "    if is_list(value):\n",
        '    if is_list(value):\n        adaptation.reject(path, "no-lists")\n',
    ),
    "a removal that is forgotten": Fault(
        "test_removal_is_sent_or_recorded",
        "for name, value in traits.items()\n",
        "for name, value in traits.items() if value is not REMOVE\n",
    ),
    "a removal sent as a word": Fault("test_removal_is_not_sent_as_text", "return None  #", 'return "None"  #'),
    "a plan that depends on the time": Fault(
        "test_plan_is_pure_and_deterministic", POST, 'json.dumps({**body, "at": id(adaptation)}).encode())'
    ),
    "a plan that changes the user": Fault(
        "test_plan_is_pure_and_deterministic",
        "    return body\n",
        "    user.traits.clear()\n    return body\n",
    ),
    "something sent that the plan does not show": Fault(
        "test_identify_sends_the_planned_request", SEND, '        response = yield self._post({"id": user.user_id})\n'
    ),
    "a user skipped who breaks a rule": Fault(
        "test_identify_sends_the_planned_request",
        "return Rejected(self.name, plan.violations)",
        "return Skipped(self.name, SkipReason.NOTHING_TO_SEND)",
    ),
    "a key in the repr": Fault(
        "test_plans_hide_values_and_the_key",
        "api_key: str = attrs.field(repr=False)",
        "api_key: str = attrs.field()",
    ),
    "a value in the vendor's words": Fault(
        "test_outcomes_hide_values_and_the_key", "redact(words, user, self.api_key)", "words"
    ),
    "a response that raises": Fault(
        "test_every_response_has_an_outcome", "response.json_object() or {}", "json.loads(response.body)"
    ),
    "an exchange that asks for ever": Fault(
        "test_every_response_has_an_outcome", SEND, f"{SEND}        while not response.is_success:\n    {SEND}"
    ),
    "a success that nobody confirmed": Fault(
        "test_success_with_a_foreign_body_is_not_accepted", ACCEPTED, "if response.is_success:"
    ),
    "a success that is not recognised": Fault(
        "test_documented_success_is_accepted", ACCEPTED, 'if response.is_success and content.get("status") == "ok":'
    ),
    "adjustments that are not told": Fault(
        "test_documented_success_is_accepted", ", adjustments=plan.adjustments)", ")"
    ),
    "a wrong key taken for a bad user": Fault("test_rejected_key_is_misconfigured", "hints=HINTS", "hints={}"),
    "a redirection taken for a bad user": Fault(
        "test_redirect_is_misconfigured",
        ACCEPTED,
        'if response.status == 302:\n            return Rejected(self.name, code="302")\n        ' + ACCEPTED,
    ),
    "a bad user taken for an outage": Fault(
        "test_bad_request_is_rejected",
        ACCEPTED,
        'if response.status == 400:\n            return Unavailable(self.name, "400")\n        ' + ACCEPTED,
    ),
    "a wait that is forgotten": Fault(
        "test_busy_vendor_is_unavailable",
        ACCEPTED,
        'if response.status in {429, 503}:\n            return Unavailable(self.name, "busy")\n        ' + ACCEPTED,
    ),
    "a no_response answer taken for none": Fault(
        "test_lost_response_is_unknown",
        ACCEPTED,
        "if response.no_response is not None or response.status > 500:\n"
        '            return Unavailable(self.name, "lost")\n        ' + ACCEPTED,
    ),
    "a retry of what was rejected": Fault(
        "test_rejected_request_is_not_retried", POST, f"{POST[:-1]}, retry_on=lambda response: not response.is_success)"
    ),
    "no retry of what may be taken later": Fault(
        "test_retry_sends_the_same_bytes", POST, f"{POST[:-1]}, retry_on=lambda response: False)"
    ),
    "other bytes in a retry": Fault(
        "test_adapter_leaves_retries_to_the_transport",
        SEND,
        f"{SEND}        if response.is_retryable:\n            response = yield self._post({{'id': user.user_id}})\n",
    ),
}


@pytest.fixture
def folder(pytester: pytest.Pytester) -> Iterator[pytest.Pytester]:
    """Go to an empty folder that holds Acme's suite, where each run finds the same examples."""
    pytester.makeconftest(PROFILE)
    pytester.makepyfile(test_acme=SUITE)
    profile = settings.get_current_profile_name()
    yield pytester
    settings.load_profile(profile)


def run(folder: pytest.Pytester, adapter: str, *options: str) -> pytest.RunResult:
    """Run the suite against *adapter*."""
    # Not as a package, so that no installed one is met.
    folder.makepyfile(replay_identity_acme=adapter)
    folder.syspathinsert()
    return folder.runpytest_inprocess("-q", "-p", "no:randomly", "-p", "no:cacheprovider", *options)


def test_the_adapter_is_not_broken(folder: pytest.Pytester) -> None:
    """It passes every case before it is broken."""
    result = run(folder, ADAPTER)

    assert result.ret == 0


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_broken_adapter_is_caught(folder: pytest.Pytester, fault: Fault) -> None:
    """By the case that is there for it, which fails and does not err."""
    assert ADAPTER.count(fault.right) == 1
    broken = ADAPTER.replace(fault.right, fault.wrong).replace(
        "import Accepted, Outcome", "import Accepted, Unavailable, Outcome"
    )

    result = run(folder, broken, "-k", fault.caught_by)

    outcomes = result.parseoutcomes()
    assert outcomes.get("failed", 0) > 0, outcomes
    assert "errors" not in outcomes
