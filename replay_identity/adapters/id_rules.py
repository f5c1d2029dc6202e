"""Ids that many people share by mistake: placeholders, and numbers whose last digits a program has cut off.

The rules are our policy, and the same for every vendor: all people who are sent under one id become one user, which
nothing can undo.
"""

import re
import unicodedata
from collections.abc import Collection
from collections.abc import Set as AbstractSet
from itertools import product
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, get_args

from ..errors import ConfigurationError
from ..outcomes import Violation

if TYPE_CHECKING:
    import attrs

IdRule: TypeAlias = Literal["placeholder-id", "id-in-scientific-notation"]
ID_RULES: Final[frozenset[str]] = frozenset(get_args(IdRule))
_PLACEHOLDER_ID: Final = Violation("user_id", "placeholder-id")
_SCIENTIFIC_NOTATION: Final = Violation("user_id", "id-in-scientific-notation")

# What programs print for a value that is not there. Only these are also found in combinations: "undefined undefined".
_NULLS: Final = (
    *("null", "nil", "none", "undefined", "undef"),  # SQL, JavaScript, Ruby, Go, Python, Perl.
    *("nan", "-nan", "+nan"),  # A missing number in pandas and JavaScript, and C's printf of it.
    "na",  # R, and pandas.NA.
)
# What applications call a person without an account, and people a value that they do not have. Written with any of
# `_JOINTS`.
_PHRASES: Final = (
    *("anonymous user", "guest user", "unknown user", "not authenticated", "not logged in"),
    *("not set", "not available", "not applicable", "not provided"),
    "user id",  # The name of the field in place of its value.
)
_JOINTS: Final = (" ", "_", "-", "")
_PLACEHOLDERS: Final = frozenset(
    (
        *_NULLS,
        *(phrase.replace(" ", joint) for phrase in _PHRASES for joint in _JOINTS),
        *("anonymous", "anon", "guest", "unknown", "unidentified"),
        *("true", "false"),  # A condition in place of the id: `user && user.id`.
        *("-1", "0x0"),  # "Not found", and a pointer to nothing.
        *("n/a", "n.a.", "#n/a"),  # Written by people and by spreadsheets.
        # The errors of spreadsheets.
        *("#null!", "#value!", "#ref!", "#name?", "#div/0!", "#num!", "#error!", "#spill!", "#calc!", "#field!"),
        *("#blocked!", "#busy!", "#connect!", "#external!", "#python!", "#unknown!", "#getting_data"),
        # Fields put together without anything between them. Shorter ones, such as "nana", may be names.
        *("".join(words) for count in (2, 3) for words in product(("null", "none", "undefined"), repeat=count)),
        *("infinity", "-infinity", "+infinity", "-inf", "+inf"),  # A number that is out of range; "inf" may be a name.
        "\\n",  # NULL in a dump of PostgreSQL or MySQL, where it is written with a capital N.
        # Written by people for "nothing", and what is empty as text.
        *("-", "--", "---", "\u2013", "\u2014", "?", "??", "???"),
        *("[]", "{}", "()", "<>", '""', "''", "``", "(blank)", "(empty)", "<empty>", "<blank>"),
        "00000000-0000-0000-0000-000000000000",
    )
)
# In lower case, "nat" may be a name.
_PLACEHOLDERS_IN_THIS_CASE: Final = frozenset({"NaT", "NaNNaN", "NaNNaNNaN", "NaTNaT"})
_NULL: Final = "|".join(map(re.escape, _NULLS))
# How templates call an id.
_NAME: Final = (
    r"(?:(?:user|customer|client|account|visitor|contact|member|person|profile|external|distinct|unique|your|my|insert)"
    r"[ _.-]*)*(?:id|uid|uuid|guid|identifier|user|email)(?:[ _-]here)?"
)
_PATTERN: Final = re.compile(
    rf"(?:{_NULL})(?:[\s_|:;,./+@-]+(?:{_NULL}))+"  # Fields put together without a look at them.
    r"|[+-]?0+(?:[.,]0*)?"  # The zero value of a number, also padded; databases count ids from 1.
    r"|\[object \w+\]"  # JavaScript's text of any object.
    r"|#+"  # A cell too narrow for its number.
    # A template that was not filled in.
    r"|\{\{.*\}\}|\[\[.*\]\]|\{%.*%\}|<%.*%>|\*\|.*\|\*|[$#@%]\{.*\}|\$\(.*\)|%\(\w+\)s|%+[a-z_][\w .-]*%+"
    rf"|<{_NAME}>|\[{_NAME}\]|\{{{_NAME}\}}|[$:]+{_NAME}",
    re.DOTALL,
)
_CLOSING: Final = {'"': '"', "'": "'", "`": "`", "(": ")", "<": ">", "[": "]", "{": "}"}
# Texts that begin with any other character are not looked at further.
_STARTS: Final = frozenset((*(null[0] for null in _NULLS), *_CLOSING, *"#{$<%*@:+-.,0123456789"))
# A longer text is not looked at for what its brackets enclose.
_LONGEST: Final = 100
# Control characters, those that only format others, and white space; and what else has no ink: letters, marks and a
# symbol, by the property Default_Ignorable_Code_Point of Unicode and the blank pattern of Braille.
_WITHOUT_INK: Final = frozenset({"Cc", "Cf", "Zs", "Zl", "Zp"})
_BLANKS: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2065\u2800\u3164\ufe00-\ufe0f\uffa0\ufff0-\ufff8\U000e0000-\U000e0fff]"
)
# Spreadsheets, data frames, C and JavaScript write the sign; Java and Spark write only a decimal point. An id such as
# "12e4" has neither.
_SCIENTIFIC: Final = re.compile(r"[+-]?(?:\d+(?:[.,]\d*)?|[.,]\d+)e[+-]\d+|[+-]?(?:\d+[.,]\d*|[.,]\d+)e\d+", re.ASCII)


# Most ids: letters, digits, "_" and "-", with a digit other than 0, which no placeholder of these has. An id is looked
# at for every backend, and one with "_" or "-" takes two to three times as long by the rest of the rules.
_is_ordinary: Final = re.compile(r"(?!\d+e-)(?!-)[a-z0_-]*+[1-9][a-z0-9_-]*+", re.ASCII | re.IGNORECASE).fullmatch


def id_violations(user_id: str | None, allow_ids: AbstractSet[str] = frozenset()) -> tuple[Violation, ...]:
    """Return the rule that *user_id* breaks as an id of many people, unless it is one of *allow_ids*."""
    if user_id is None or _is_ordinary(user_id):
        return ()
    violation = _violation(user_id)
    return () if violation is None or violation.rule in allow_ids else (violation,)


def check_allow_ids(_instance: object, attribute: "attrs.Attribute[Any]", rules: AbstractSet[str]) -> None:
    """Validate an attrs field: raise ConfigurationError unless all *rules* are rules about ids."""
    if not rules <= ID_RULES:
        raise ConfigurationError(attribute.name, f"expected rules among {', '.join(sorted(ID_RULES))}")


def as_id_rules(rules: Collection[IdRule]) -> frozenset[IdRule]:
    """Convert an attrs field to a set of rules."""
    if isinstance(rules, str):
        problem = "expected a set of rules, got a string"
        raise ConfigurationError("allow_ids", problem, 'write allow_ids={"placeholder-id"}')
    return frozenset(rules)


def _violation(user_id: str) -> Violation | None:
    # No text of letters and digits only is in scientific notation.
    text = user_id if user_id.isascii() and user_id.isalnum() else _stripped(user_id)
    folded = text.lower()
    if not folded.strip("0") or folded in _PLACEHOLDERS or text in _PLACEHOLDERS_IN_THIS_CASE:
        return _PLACEHOLDER_ID
    if text.isalnum() or folded[0] not in _STARTS:
        return None
    if _is_placeholder(folded):
        return _PLACEHOLDER_ID
    return _SCIENTIFIC_NOTATION if _SCIENTIFIC.fullmatch(folded) else None


def _stripped(text: str) -> str:
    """Return *text* without blanks at its ends, and without characters that nobody sees.

    Other forms of a character, such as those of full width, become the usual one.
    """
    stripped = text.strip()
    if stripped.isascii() and stripped.isprintable():
        return stripped
    visible = _BLANKS.sub("", unicodedata.normalize("NFKC", stripped))
    return "".join(each for each in visible if each.isspace() or unicodedata.category(each) not in _WITHOUT_INK).strip()


def _is_placeholder(text: str) -> bool:
    """Return True if *text*, stripped and in lower case, is blank or no id of one person, also in brackets."""
    while text and text not in _PLACEHOLDERS and not _PATTERN.fullmatch(text):
        if len(text) > _LONGEST or len(text) == 1 or text[-1] != _CLOSING.get(text[0]):
            return False
        text = _stripped(text[1:-1])
    return True
