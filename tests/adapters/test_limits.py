from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay_identity.adapters.limits import Limit, Limits, Unit
from replay_identity.fullstory import LIMITS as FULLSTORY
from replay_identity.fullstory.limits import PROPERTY_VALUE
from replay_identity.logrocket import LIMITS as LOGROCKET
from replay_identity.testing import CHARACTERS, WIDTHS, long_texts

TEXT_UNITS = [Unit.CHARACTERS, Unit.UTF16_UNITS, Unit.UTF8_BYTES]


def limit_of(maximum: int, unit: Unit) -> Limit:
    """Return an invented limit."""
    return Limit(maximum=maximum, unit=unit, source="here", read_on=date(2026, 11, 21), rule="rule")


def measured(text: str, unit: Unit) -> int:
    """Return the length as the definition of the unit says."""
    # The code points from which on a character takes one more unit.
    steps = {Unit.CHARACTERS: [], Unit.UTF16_UNITS: [0x10000], Unit.UTF8_BYTES: [0x80, 0x800, 0x10000]}
    return sum(1 + sum(ord(char) >= step for step in steps[unit]) for char in text)


texts = st.one_of(
    st.text(st.characters(codec="utf-8"), max_size=60), st.lists(st.sampled_from(CHARACTERS)).map("".join)
)
limits = st.builds(limit_of, st.integers(1, 60), st.sampled_from(TEXT_UNITS))


@pytest.mark.parametrize(
    ("unit", "text", "length"),
    [
        (Unit.CHARACTERS, "aé😀", 3),
        (Unit.UTF16_UNITS, "aé😀", 4),
        (Unit.UTF16_UNITS, "abc", 3),
        (Unit.UTF8_BYTES, "aé😀", 7),
        (Unit.UTF8_BYTES, "abc", 3),
        (Unit.TRAITS, "abc", 3),
    ],
)
def test_measures_text_in_the_limits_unit(unit: Unit, text: str, length: int) -> None:
    """The same text has several lengths."""
    assert limit_of(10, unit).measure(text) == length


@given(limit=limits, text=texts)
def test_allows_text_up_to_the_maximum(limit: Limit, text: str) -> None:
    """The shortcut gives the same result as measuring."""
    assert limit.measure(text) == measured(text, limit.unit)
    assert limit.allows(text) == (measured(text, limit.unit) <= limit.maximum)


@given(limit=limits, text=texts)
def test_truncating_returns_an_allowed_prefix(limit: Limit, text: str) -> None:
    """Valid Unicode, and the whole text if that is allowed."""
    kept = limit.truncate(text)

    assert text.startswith(kept)
    assert kept.encode().decode() == kept
    assert limit.allows(kept)
    assert (kept == text) == limit.allows(text)


@given(limit=limits, parts=st.lists(st.sampled_from(CHARACTERS), min_size=1))
def test_truncating_splits_no_grapheme(limit: Limit, parts: list[str]) -> None:
    """Families, flags, skin tones, accents and Hangul letters stay whole, and as many as possible are kept."""
    kept = limit.truncate("".join(parts))

    allowed = ["".join(parts[:count]) for count in range(len(parts) + 1) if limit.allows("".join(parts[:count]))]
    assert kept == allowed[-1] or not allowed[-1]


@pytest.mark.parametrize("character", [character for character in CHARACTERS if len(character) > 1])
def test_keeps_a_grapheme_whole_or_not_at_all(character: str) -> None:
    """This holds for any number of code points and any limit."""
    for maximum in range(1, len(character) + 1):
        assert limit_of(maximum, Unit.CHARACTERS).truncate(f"x{character}") == "x"


@pytest.mark.parametrize("before", ["", "a", "🇩🇪a"])
@pytest.mark.parametrize("maximum", range(1, 14))
def test_cuts_flags_between_two(maximum: int, before: str) -> None:
    """A flag is two letters, and only counting shows where one begins."""
    kept = limit_of(len(before) + maximum, Unit.CHARACTERS).truncate(before + "🇩🇪" * 6)

    assert kept == before + "🇩🇪" * (maximum // 2) or kept == before + "🇩"


@pytest.mark.parametrize("unit", TEXT_UNITS)
def test_cuts_an_endless_grapheme(unit: Unit) -> None:
    """A text that is one long grapheme has no better place to cut."""
    text = "a" + "\u0301" * 100

    kept = limit_of(21, unit).truncate(text)

    assert 21 - 2 < measured(kept, unit) <= 21
    assert text.startswith(kept)


@pytest.mark.parametrize("limits_of_vendor", [FULLSTORY, LOGROCKET])
def test_every_published_limit_has_a_source_and_a_date(limits_of_vendor: Limits) -> None:
    """A reader can verify each number."""
    for _, limit in limits_of_vendor:
        assert limit.source.startswith(("https://", "npm "))
        assert limit.read_on in {date(2026, 11, 21), date(2026, 11, 30)}
        assert limit.rule


def test_fullstory_limits_match_its_documentation() -> None:
    """See https://developer.fullstory.com/server/users/create-user."""
    assert {name: (limit.maximum, limit.unit.value) for name, limit in FULLSTORY} == {
        "user_id": (256, "characters"),
        "name": (256, "characters"),
        "email": (128, "characters"),
        "trait_name": (512, "characters"),
        "trait_value": (8192, "UTF-8 bytes"),
        "trait_count": (500, "traits"),
        "unique_traits": (500, "traits"),
    }


def test_fullstory_limits_properties_of_all_users() -> None:
    """It counts them across the organisation, so no single user can exceed it."""
    limit = FULLSTORY.unique_traits

    assert limit is not None
    assert (limit.maximum, limit.rule) == (500, "organisation-properties")
    assert LOGROCKET.unique_traits is None


def test_logrocket_limits_match_its_documentation() -> None:
    """See https://docs.logrocket.com/docs/user-identification-api and LogRocket's own SDK."""
    assert {name: (limit.maximum, limit.unit.value) for name, limit in LOGROCKET} == {
        "user_id": (1024, "UTF-16 units"),
        "name": (1024, "UTF-16 units"),
        "email": (1024, "UTF-16 units"),
        "trait_name": (1024, "UTF-16 units"),
        "trait_value": (1024, "UTF-16 units"),
        "trait_name_advised": (128, "UTF-8 bytes"),
    }


@pytest.mark.parametrize("vendor", [FULLSTORY, LOGROCKET])
def test_every_limit_has_its_own_rule(vendor: Limits) -> None:
    """A violation's rule identifies the limit."""
    rules = [limit.rule for _, limit in vendor]

    assert len(set(rules)) == len(rules)


@given(text=long_texts(8192), width=st.sampled_from(WIDTHS))
def test_truncating_keeps_as_much_as_possible(text: str, width: str) -> None:
    """The rest is shorter than one character."""
    kept = PROPERTY_VALUE.truncate(text + width)

    assert 8192 - 4 < len(kept.encode()) <= 8192 or kept == text + width
