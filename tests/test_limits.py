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
    """Return a limit of nobody's."""
    return Limit(maximum=maximum, unit=unit, source="here", read_on=date(2026, 11, 21), rule="rule")


def measured(text: str, unit: Unit) -> int:
    """Count as the units' definitions have it."""
    # The code points from which on a character takes one unit more.
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
def test_a_text_is_measured_in_the_limits_unit(unit: Unit, text: str, length: int) -> None:
    """The same text is of several lengths."""
    assert limit_of(10, unit).measure(text) == length


@given(limit=limits, text=texts)
def test_a_limit_allows_what_is_no_longer(limit: Limit, text: str) -> None:
    """The maximum itself is allowed, and the quick way to tell gives the same answer."""
    assert limit.measure(text) == measured(text, limit.unit)
    assert limit.allows(text) == (measured(text, limit.unit) <= limit.maximum)


@given(limit=limits, text=texts)
def test_truncating_gives_an_allowed_beginning(limit: Limit, text: str) -> None:
    """It is a prefix, valid text, within the limit, and all of it where all of it is allowed."""
    kept = limit.truncate(text)

    assert text.startswith(kept)
    assert kept.encode().decode() == kept
    assert limit.allows(kept)
    assert (kept == text) == limit.allows(text)


@given(limit=limits, parts=st.lists(st.sampled_from(CHARACTERS), min_size=1))
def test_truncating_splits_no_character_that_a_reader_sees(limit: Limit, parts: list[str]) -> None:
    """Families, flags, skin tones, accents and Hangul letters stay whole, and as many as fit are kept."""
    kept = limit.truncate("".join(parts))

    adaptation = ["".join(parts[:count]) for count in range(len(parts) + 1) if limit.allows("".join(parts[:count]))]
    assert kept == adaptation[-1] or not adaptation[-1]


@pytest.mark.parametrize("character", [character for character in CHARACTERS if len(character) > 1])
def test_a_character_is_kept_whole_or_not_at_all(character: str) -> None:
    """However many code points it has, and wherever the limit falls."""
    for maximum in range(1, len(character) + 1):
        assert limit_of(maximum, Unit.CHARACTERS).truncate(f"x{character}") == "x"


@pytest.mark.parametrize("before", ["", "a", "🇩🇪a"])
@pytest.mark.parametrize("maximum", range(1, 14))
def test_a_row_of_flags_is_cut_between_two(maximum: int, before: str) -> None:
    """A flag is two letters, and nothing but counting tells where it begins."""
    kept = limit_of(len(before) + maximum, Unit.CHARACTERS).truncate(before + "🇩🇪" * 6)

    assert kept == before + "🇩🇪" * (maximum // 2) or kept == before + "🇩"


@pytest.mark.parametrize("unit", TEXT_UNITS)
def test_a_pile_of_marks_is_cut_all_the_same(unit: Unit) -> None:
    """A text that is one character as long as a book has no better place to cut."""
    text = "a" + "\u0301" * 100

    kept = limit_of(21, unit).truncate(text)

    assert 21 - 2 < measured(kept, unit) <= 21
    assert text.startswith(kept)


@pytest.mark.parametrize("limits_of_vendor", [FULLSTORY, LOGROCKET])
def test_every_published_limit_has_a_source_and_a_date(limits_of_vendor: Limits) -> None:
    """A reader can check each number."""
    for _, limit in limits_of_vendor:
        assert limit.source.startswith(("https://", "npm "))
        assert limit.read_on == date(2026, 11, 21)
        assert limit.rule


def test_the_limits_of_fullstory() -> None:
    """As https://developer.fullstory.com/server/users/create-user has them."""
    assert {name: (limit.maximum, limit.unit.value) for name, limit in FULLSTORY} == {
        "user_id": (256, "characters"),
        "name": (256, "characters"),
        "email": (128, "characters"),
        "trait_name": (512, "characters"),
        "trait_value": (8192, "UTF-8 bytes"),
        "trait_count": (500, "traits"),
        "unique_traits": (500, "traits"),
    }


def test_fullstory_limits_the_properties_of_the_organisation() -> None:
    """All users together may have so many different ones, which no single user can break."""
    limit = FULLSTORY.unique_traits

    assert limit is not None
    assert (limit.maximum, limit.rule) == (500, "organisation-properties")
    assert LOGROCKET.unique_traits is None


def test_the_limits_of_logrocket() -> None:
    """As https://docs.logrocket.com/docs/user-identification-api and LogRocket's own SDK have them."""
    assert {name: (limit.maximum, limit.unit.value) for name, limit in LOGROCKET} == {
        "user_id": (1024, "UTF-16 units"),
        "name": (1024, "UTF-16 units"),
        "email": (1024, "UTF-16 units"),
        "trait_name": (1024, "UTF-16 units"),
        "trait_value": (1024, "UTF-16 units"),
        "trait_name_advised": (128, "UTF-8 bytes"),
    }


@pytest.mark.parametrize("vendor", [FULLSTORY, LOGROCKET])
def test_no_two_limits_of_a_vendor_have_one_rule(vendor: Limits) -> None:
    """A violation's rule tells which limit it was."""
    rules = [limit.rule for _, limit in vendor]

    assert len(set(rules)) == len(rules)


@given(text=long_texts(8192), width=st.sampled_from(WIDTHS))
def test_a_long_text_is_cut_to_the_byte(text: str, width: str) -> None:
    """As much as fits is kept: less than one character more would be left."""
    kept = PROPERTY_VALUE.truncate(text + width)

    assert 8192 - 4 < len(kept.encode()) <= 8192 or kept == text + width
