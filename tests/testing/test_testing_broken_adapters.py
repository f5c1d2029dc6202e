"""Every fault in the adapter of the guide is caught by the case for it."""

from collections.abc import Iterator
from typing import Final

import attrs
import pytest
from hypothesis import settings
from support.markdown import ROOT, blocks

pytestmark = pytest.mark.slow

pytest_plugins = ["pytester"]

PAGE: Final = ROOT / "docs" / "howto" / "add-a-vendor.md"
FILES: Final = {block.argument: block.text for block in blocks(PAGE) if block.argument.endswith(".py")}
ADAPTER: Final = FILES["replay_identity_acme/__init__.py"]
SUITE: Final = FILES["tests/test_acme.py"]
# Enough examples to find each fault in every run.
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


NAME: Final = '    name: str = attrs.field(default="acme", kw_only=True)\n'
SEND: Final = "        response = yield plan.request\n"
POST: Final = "json.dumps(body).encode())"
ACCEPTED: Final = "if response.confirms and not response.refuses:"
IMPORTS: Final = "    Accepted,\n    Rejected,\n    Skipped,\n    SkipReason,\n    Unavailable,\n"
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
    "a truncation that is not recorded": Fault(
        "test_adapt_mode_respects_limits_and_records_losses",
        "return adaptation.truncate(path, value, TRAIT_VALUE)",
        "return TRAIT_VALUE.truncate(value)",
    ),
    "a truncation that is one too long": Fault(
        "test_adapt_mode_respects_limits_and_records_losses",
        "return adaptation.truncate(path, value, TRAIT_VALUE)",
        "return value[: len(adaptation.truncate(path, value, TRAIT_VALUE)) + 1]",
    ),
    "an id that is truncated": Fault(
        "test_users_over_a_limit_are_rejected",
        'adaptation.check("user_id", user.user_id, USER_ID)',
        "user = attrs.evolve(user, user_id=USER_ID.truncate(user.user_id))",
    ),
    "a missing trait": Fault(
        "test_every_loss_is_recorded",
        "for name, value in traits.items()",
        "for name, value in list(traits.items())[:1]",
    ),
    "a missing item of a list": Fault("test_every_loss_is_recorded", "for item in value]", "for item in value[:1]]"),
    "a rounded number": Fault(
        "test_every_loss_is_recorded",
        "        return value\n",
        "        return round(value) if isinstance(value, float) else value\n",
    ),
    "a loss in reject mode": Fault(
        "test_reject_mode_loses_nothing", "adaptation = self._adaptation(user)", "adaptation = Adaptation(adapt=True)"
    ),
    "an id of many people that is sent": Fault(
        "test_ids_of_many_people_are_rejected", "self._adaptation(user)", "self._adaptation()"
    ),
    "a valid list that is rejected": Fault(
        "test_valid_users_are_never_rejected",
        "    if is_list(value):\n",
        '    if is_list(value):\n        adaptation.reject(path, "no-lists")\n',
    ),
    "a missing removal": Fault(
        "test_removal_is_sent_or_recorded",
        "for name, value in traits.items()\n",
        "for name, value in traits.items() if value is not REMOVE\n",
    ),
    "a removal sent as text": Fault("test_removal_is_not_sent_as_text", "return None  #", 'return "None"  #'),
    "a plan that depends on the time": Fault(
        "test_plan_is_pure_and_deterministic",
        POST,
        'json.dumps({**body, "at": __import__("time").perf_counter_ns()}).encode())',
    ),
    "a plan that changes the user": Fault(
        "test_plan_is_pure_and_deterministic",
        "    return body\n",
        "    user.traits.clear()\n    return body\n",
    ),
    "a request that is not the planned one": Fault(
        "test_identify_sends_the_planned_request", SEND, '        response = yield self._post({"id": user.user_id})\n'
    ),
    "a user with violations that is skipped": Fault(
        "test_identify_sends_the_planned_request",
        "return plan.unsent",
        "return Skipped(self.name, SkipReason.NOTHING_TO_SEND)",
    ),
    "a key in the account": Fault(
        "test_account_and_encoding_hide_the_key", NAME, f"{NAME}    account = property(lambda self: self.api_key)\n"
    ),
    "one account for all servers": Fault(
        "test_other_accounts_have_other_names", NAME, f'{NAME}    account = property(lambda self: "acme")\n'
    ),
    "another account each time": Fault(
        "test_account_and_encoding_are_stable", NAME, f"{NAME}    account = property(lambda self: str(id(self)))\n"
    ),
    "an encoding that ignores the policy": Fault(
        "test_encoding_changes_with_the_policy", NAME, f'{NAME}    encoding = property(lambda self: "1")\n'
    ),
    "a key in the repr": Fault(
        "test_plans_hide_values_and_the_key",
        NAME,
        f"    api_key: str = attrs.field()\n{NAME}",
    ),
    "a value in the vendor's message": Fault(
        "test_outcomes_hide_values_and_the_key", "redact(error, user, self.api_key)", "error"
    ),
    "a response that raises": Fault(
        "test_every_response_has_an_outcome", "response.json_object() or {}", "json.loads(response.body)"
    ),
    "an exchange that never ends": Fault(
        "test_every_response_has_an_outcome", SEND, f"{SEND}        while not response.is_success:\n    {SEND}"
    ),
    "a success without confirmation": Fault(
        "test_success_with_a_foreign_body_is_not_accepted", ACCEPTED, "if response.is_success:"
    ),
    "a success that is not recognised": Fault(
        "test_documented_success_is_accepted", ACCEPTED, 'if response.confirms and b"status" in response.body:'
    ),
    "missing adjustments": Fault("test_documented_success_is_accepted", ", adjustments=plan.adjustments)", ")"),
    "a wrong key reported as a bad user": Fault("test_rejected_key_is_misconfigured", "hints=HINTS", "hints={}"),
    "a redirect reported as a bad user": Fault(
        "test_redirect_is_misconfigured",
        ACCEPTED,
        'if response.status == 302:\n            return Rejected(self.name, code="302")\n        ' + ACCEPTED,
    ),
    "a bad user reported as an outage": Fault(
        "test_bad_request_is_rejected",
        ACCEPTED,
        'if response.status == 400:\n            return Unavailable(self.name, "400")\n        ' + ACCEPTED,
    ),
    "a missing Retry-After": Fault(
        "test_busy_vendor_is_unavailable",
        ACCEPTED,
        'if response.status in {429, 503}:\n            return Unavailable(self.name, "busy")\n        ' + ACCEPTED,
    ),
    "a lost response reported as unavailable": Fault(
        "test_lost_response_is_unknown",
        ACCEPTED,
        "if response.no_response is not None or response.status > 500:\n"
        '            return Unavailable(self.name, "lost")\n        ' + ACCEPTED,
    ),
    "a retry of a rejected request": Fault(
        "test_rejected_request_is_not_retried", POST, f"{POST[:-1]}, retry_on=lambda response: not response.is_success)"
    ),
    "no retry of a failure": Fault(
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
    """Return an empty folder with Acme's suite and a profile with the same examples in every run."""
    pytester.makeconftest(PROFILE)
    pytester.makepyfile(test_acme=SUITE)
    profile = settings.get_current_profile_name()
    yield pytester
    settings.load_profile(profile)


def run(folder: pytest.Pytester, adapter: str, *options: str) -> pytest.RunResult:
    """Run the suite against *adapter*."""
    # As a module instead of a package, so that no installed package shadows it.
    folder.makepyfile(replay_identity_acme=adapter)
    folder.syspathinsert()
    return folder.runpytest_inprocess("-q", "-p", "no:randomly", "-p", "no:cacheprovider", *options)


def test_unmodified_adapter_passes(folder: pytest.Pytester) -> None:
    """The adapter passes all cases without a fault."""
    result = run(folder, ADAPTER)

    assert result.ret == 0


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_broken_adapter_is_caught(folder: pytest.Pytester, fault: Fault) -> None:
    """The case for the fault fails, without errors in other places."""
    assert ADAPTER.count(fault.right) == 1
    broken = ADAPTER.replace(fault.right, fault.wrong).replace("    Accepted,\n", IMPORTS)

    result = run(folder, broken, "-k", fault.caught_by)

    outcomes = result.parseoutcomes()
    assert outcomes.get("failed", 0) > 0, outcomes
    assert "errors" not in outcomes
