"""Tests for ids that many people share by mistake."""

from pathlib import Path
from typing import Any, ClassVar

import attrs
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay_identity import Fullstory, LogRocket, Route, Router, UserTraits
from replay_identity.adapters import (
    ConfigurationError,
    Exchange,
    HttpAdapter,
    IdentityBackend,
    Limits,
    Outcome,
    Plan,
    Rejected,
    Request,
    Violation,
    id_violations,
)
from replay_identity.bulk import check, check_user
from replay_identity.config import load_settings
from replay_identity.outcomes import Accepted
from replay_identity.testing import ScriptedTransport

KEY = "na1.key"
PLACEHOLDERS = (
    *("null", "undefined", "None", "NaN", "nil", "true", "false", "0", "[object Object]", "N/A", "anonymous", "guest"),
    *("NULL", "nan", "#N/A", "n.a.", "unknown", "Anonymous User", "anonymous_user", "not-set", "NOT_AUTHENTICATED"),
    *("(null)", "<null>", "<NA>", '"null"', "'None'", "[undefined]", "{null}", "`nil`", "( null )", '"(null)"'),
    *("undefined undefined", "null-null", "None|nil", "null_undefined", "nan,nan", "null::null", "NA/NA"),
    *("undefinedundefined", "NullNull", "nonenull", "nullundefinednull", "NaNNaN", "null@null", "#SPILL!", "#CALC!"),
    *("", " ", "\t\n", "\u200b", "\ufeff", '""', "''", '" "', "-", "--", "\u2014", "?", "[]", "{}", "()", "(blank)"),
    *(" null", "null\n", "\ufeffnull", "null\u200b", "\u00a0null\u2060", "null\0"),
    *("-1", "0.0", "-0", "-Infinity", "Infinity", "-nan", "#REF!", "#DIV/0!", "########", "\\N", "NaT"),
    *("[object Undefined]", "{{user.id}}", "{{ id }}", "${user.id}", "<%= id %>", "%(id)s", "{{a\nb}}"),
    *(
        "(0)",
        '"00"',
        "-00",
        "+0",
        "0.00",
        "0,0",
        "00",
        "000",
        "0" * 10,
        "0x0",
        "00000000-0000-0000-0000-000000000000",
        "0" * 32,
        "0" * 24,
    ),
    *("%user_id%", "%%USER_ID%%", "${userId}", "#{user.id}", "@{user}", "$(id)", "{% id %}", "*|USER_ID|*", "[[id]]"),
    *(
        "<user_id>",
        "<your-user-id>",
        "<insert id here>",
        "[user_id]",
        "{userId}",
        "{customer_id}",
        ":user_id",
        "$userid",
    ),
    *("user_id", "USER ID", "userId"),
    *(
        "\uff4e\uff55\uff4c\uff4c",
        "\uff2e\uff0f\uff21",
        "\uff10",
        "\uff10\uff10",
        "\U0001d427\U0001d42e\U0001d425\U0001d425",
    ),
    *("n\u200bull", "un\u00addefined", "\u2800null\u3164", "null\ufe0f", "\u202enull\u202c", "\x7fnull\x01"),
)
# Of the property Default_Ignorable_Code_Point, or blank.
INVISIBLE = (
    *"\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b\u180e\u180f\u200b\u200c\u200d\u200e\u200f\u202a\u202e\u2060\u2064",
    *"\u2065\u206f\u2800\u3000\u3164\ufe00\ufe0f\ufeff\uffa0\ufff0\u2028\u2029\u0085\u00a0\u2003\x00\x1f\x7f",
    *"\U0001d173\U0001bca0\U000e0001\U000e0020\U000e0100\U000e0fff",
)
SCIENTIFIC = (
    *("1.23457E+17", "1.23e+18", "-4.5E+3", "1E+17", "1,23457E+17", "9.0e-05", "+1.E+17", ".5e+3", " 1.2E+10\n"),
    *("1.23457E17", "1,5e3"),
)
REAL_IDS = (
    *(
        "1",
        "01",
        "100",
        "10",
        "u1",
        "na1",
        "null1",
        "nullable",
        "Nils",
        "nat",
        "inf",
        "test",
        "user",
        "admin",
        "nobody",
    ),
    *("12e4", "1e5", "1E17", "e+5", "1e+", "1.5", "1.5e", "1-e-5", "0xe+1", "3e7a-1", "12e4-5", "1e+5a"),
    *("none@example.com", "guest42", "anonymous-7", "null-1", "auth0|null", "true-false", "0-0", "not me", "a b"),
    *(".", "..", "!", '"', "'", "(", "'null\"", "(u1)", "[a]", "()a", "{{", "é", "😀", "nu ll", "[object]"),
    *("550e8400-e29b-41d4-a716-446655440000", "00000000-0000-0000-0000-000000000001", "0" * 23 + "1"),
    *(
        "<u1@example.com>",
        "[david]",
        "{550e8400}",
        "%2f%",
        "50%",
        ":smile:",
        "$money",
        "@user",
        "\uff11",
        "\u674e\u56db",
        "id",
    ),
    *("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "user_id_7", "userid7", "0x1"),
    "(" * 5000 + ")" * 5000,
)
ACCEPTED = b'{"id": "1", "uid": "u1"}'


@attrs.frozen
class Acme(HttpAdapter):
    """A contributed backend that does not pass the user to `_adaptation`."""

    DEFAULT_BASE_URL: ClassVar[str] = "https://api.acme.example"

    name: str = attrs.field(default="acme", kw_only=True)

    def plan(self, user: UserTraits, /) -> Plan:
        """Return a request for any user."""
        request = Request("identify", "POST", self._url, self._headers, orjson.dumps(user.user_id))
        return self._plan(self._adaptation(), request)

    def identify(self, user: UserTraits, /) -> Exchange[Outcome]:
        """Send any user."""
        yield self.plan(user).request or Request("identify", "POST", self._url)
        return Accepted(self.name)


@attrs.frozen
class Independent:
    """A backend that is no `HttpAdapter`."""

    acme: Acme = Acme("key", name="independent")
    name: str = "independent"
    account: str = "one"
    encoding: str = "1"
    limits: Limits = attrs.field(factory=Limits)

    def plan(self, user: UserTraits, /) -> Plan:
        """Return a request for any user."""
        return self.acme.plan(user)

    def identify(self, user: UserTraits, /) -> Exchange[Outcome]:
        """Send any user."""
        return (yield from self.acme.identify(user))


def rules_of(user_id: str | None, **settings: Any) -> list[str]:
    """Return the rules about ids that *user_id* breaks."""
    return [violation.rule for violation in id_violations(user_id, **settings)]


@pytest.mark.parametrize("user_id", PLACEHOLDERS)
def test_a_placeholder_is_a_violation(user_id: str) -> None:
    """Whatever is around it, and in any case."""
    assert rules_of(user_id) == ["placeholder-id"]


@given(st.text(st.sampled_from(INVISIBLE), min_size=1), st.sampled_from(["", "null", "0", "<user_id>"]))
def test_invisible_characters_do_not_make_an_id(blanks: str, text: str) -> None:
    """Alone, or around what would be rejected without them."""
    assert rules_of(f"{blanks}{text}{blanks}") == ["placeholder-id"]


@given(st.text(st.sampled_from(INVISIBLE)))
def test_invisible_characters_around_an_id_are_for_warnings(blanks: str) -> None:
    """The id is of one person."""
    assert rules_of(f"{blanks}u1{blanks}") == []


@pytest.mark.parametrize("user_id", SCIENTIFIC)
def test_a_number_with_an_exponent_is_one(user_id: str) -> None:
    """With a sign or a decimal point, since nobody writes an id like this."""
    assert rules_of(user_id) == ["id-in-scientific-notation"]


@pytest.mark.parametrize("user_id", REAL_IDS)
def test_an_id_that_may_be_real_is_none(user_id: str) -> None:
    """It may be somebody's."""
    assert rules_of(user_id) == []


def test_no_id_is_no_placeholder() -> None:
    """Anonymous users have rules of their own."""
    assert id_violations(None) == ()


@given(number=st.floats(min_value=1e16, allow_nan=False, allow_infinity=False), template=st.sampled_from("gGeE"))
def test_a_long_number_as_a_float_is_rejected(number: float, template: str) -> None:
    """As programs print it, by default with six digits."""
    assert rules_of(format(number, template)) == ["id-in-scientific-notation"]


@given(number=st.integers(min_value=1))
def test_a_positive_whole_number_is_an_id(number: int) -> None:
    """Databases count users from 1."""
    assert rules_of(str(number)) == []


@given(user_id=st.uuids(allow_nil=False))
def test_a_uuid_is_an_id(user_id: Any) -> None:
    """Also one whose parts look like a number with an exponent."""
    assert rules_of(str(user_id)) == rules_of(user_id.hex) == []


@given(user_id=st.text("nul01e-_", min_size=1, max_size=50))
def test_brackets_do_not_change_a_placeholder(user_id: str) -> None:
    """However ordinary the characters of the id are."""
    assert (rules_of(user_id) == ["placeholder-id"]) == (rules_of(f"({user_id})") == ["placeholder-id"])


@given(user_id=st.from_regex(r"[0-9]{1,4}e-[0-9]{1,4}", fullmatch=True))
def test_digits_and_an_exponent_are_one_number(user_id: str) -> None:
    """An id of ordinary characters may be a number in scientific notation."""
    assert rules_of(user_id) == ["id-in-scientific-notation"]


@pytest.mark.parametrize("backend", [Fullstory(KEY), LogRocket("a:b:c"), Route(Acme("key")), Route(Independent())])
@pytest.mark.parametrize(("user_id", "rule"), [("null", "placeholder-id"), ("1e+17", "id-in-scientific-notation")])
def test_every_backend_rejects_such_ids(backend: Any, user_id: str, rule: str) -> None:
    """Built in or contributed, before anything is sent."""
    transport = ScriptedTransport()
    user = UserTraits(user_id, name="Ada")

    outcome = transport.run(backend.identify(user))

    assert outcome == Rejected(backend.name, (Violation("user_id", rule),))
    assert backend.plan(user) == Plan(backend.name, None, violations=(Violation("user_id", rule),))
    assert transport.requests == []


def test_a_batch_rejects_such_ids() -> None:
    """As the plan does."""
    encoded = Fullstory(KEY).encode_for_batch(UserTraits("undefined", name="Ada"))

    assert encoded.content is None
    assert encoded.violations == (Violation("user_id", "placeholder-id"),)


@pytest.mark.parametrize("backend", [Acme("key"), Independent()])
def test_a_check_rejects_such_ids(backend: IdentityBackend) -> None:
    """A backend without a route is checked as with one."""
    user = UserTraits("null", name="Ada")

    assert check_user(user, [backend]) == (Rejected(backend.name, (Violation("user_id", "placeholder-id"),)),)
    assert check([user], [backend]).users == 1


def test_a_router_rejects_such_ids() -> None:
    """At every backend."""
    with Router([Fullstory(KEY), Route(Independent(), exclude={"plan"})]) as router:
        report = router.identify("[object Object]", traits={"plan": "pro"})

    assert [type(outcome) for outcome in report.outcomes] == [Rejected, Rejected]


@pytest.mark.parametrize("backend_class", [Fullstory, Acme])
def test_an_allowed_rule_does_not_apply(backend_class: type[Any]) -> None:
    """The other one does."""
    route = Route(backend_class(KEY, allow_ids={"placeholder-id"}))

    allowed, other = (route.plan(UserTraits(user_id, name="Ada")) for user_id in ("null", "1e+17"))

    assert isinstance(allowed, Plan)
    assert allowed.request is not None
    assert isinstance(other, Plan)
    assert [violation.rule for violation in other.violations] == ["id-in-scientific-notation"]


@pytest.mark.parametrize("value", ["placeholder-id", ["placeholder"], ["null"], {""}])
def test_an_unknown_rule_is_an_error(value: Any) -> None:
    """So is a string, which is a collection of letters."""
    with pytest.raises(ConfigurationError) as caught:
        Fullstory(KEY, allow_ids=value)

    assert caught.value.setting == "allow_ids"


def test_a_settings_file_allows_such_ids(tmp_path: Path) -> None:
    """By the names of the rules."""
    path = tmp_path / "s.toml"
    path.write_text('[backends.fullstory]\nallow_ids = ["placeholder-id"]\n')

    (backend,) = load_settings(path, {"FULLSTORY_API_KEY": KEY}).backends

    assert backend == Fullstory(KEY, allow_ids={"placeholder-id"})


def test_allowing_an_id_changes_the_encoding() -> None:
    """So that a ledger looks at the rejected users again."""
    encodings = {
        Fullstory(KEY).encoding,
        Fullstory(KEY, allow_ids={"placeholder-id"}).encoding,
        Fullstory(KEY, allow_ids={"placeholder-id", "id-in-scientific-notation"}).encoding,
    }

    assert len(encodings) == 3
