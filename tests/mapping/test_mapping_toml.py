"""Mappings written as TOML."""

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from replay_identity import ConfigurationError
from replay_identity.mapping import Cast, FieldRule, RowMapping, load_mapping, mapping_text
from replay_identity.mapping.rules import Dots, Null, OnError, Unlisted

SCALARS = (
    st.text()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.dates()
    | st.datetimes(timezones=st.just(UTC))
)
DEFAULTS = SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(st.text(), SCALARS, max_size=3)
PATHS = st.text(min_size=1).filter(lambda path: path.strip() and all(path.split(".")))
RULES = st.one_of(
    st.just(FieldRule(drop=True)),
    st.builds(FieldRule, cast=st.sampled_from(get_args(Cast)), null=st.sampled_from(["inherit", "absent", "remove"])),
    st.builds(FieldRule, default=DEFAULTS),
    st.builds(FieldRule, rename=PATHS),
    st.builds(
        FieldRule,
        nulls=st.none() | st.lists(st.text(), max_size=2),
        trim=st.none() | st.booleans(),
        lower=st.none() | st.booleans(),
        normalise=st.none() | st.booleans(),
    ),
    st.builds(
        FieldRule, cast=st.sampled_from(["int", "dates", "epoch-s"]), on_error=st.sampled_from(get_args(OnError))
    ),
    st.builds(
        FieldRule,
        cast=st.sampled_from(["real", "ints"]),
        decimal=st.just(","),
        thousands=st.sampled_from([None, ".", " ", "'"]),
        strip=st.lists(st.sampled_from(["€", "%", "kr.", ".-"]), max_size=2),
    ),
    st.just(FieldRule(cast="date", format=["%d.%m.%Y", '%Y"%m\t%d'])),
)
CHOICES = st.text() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.dates()


def read_back(text: str) -> RowMapping:
    """Return the mapping in a file that holds *text*."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "mapping.toml"
        path.write_text(text, encoding="utf-8", newline="")
        return load_mapping(path)


@pytest.mark.parametrize("default", [{"plan": "free", "seats": 1}, [1, 2], {}, {"tags": ["a", "b"]}])
def test_nested_defaults_survive_a_round_trip(default: object) -> None:
    """An object is an inline table, and a list is an array."""
    mapping = RowMapping(fields={"account": FieldRule(default=default)})

    assert read_back(mapping_text(mapping)) == mapping


@given(
    fields=st.dictionaries(PATHS, RULES, max_size=4),
    user_id=st.none() | PATHS,
    name=st.none() | PATHS | st.lists(PATHS, min_size=1, max_size=2).map(tuple),
    where=st.dictionaries(PATHS, CHOICES | st.lists(CHOICES, min_size=1, max_size=2), max_size=2),
    settings=st.fixed_dictionaries(
        {
            "null": st.sampled_from(get_args(Null)),
            "timezone": st.sampled_from([None, "UTC", "Europe/Berlin"]),
            "unlisted": st.sampled_from(get_args(Unlisted)),
            "lift": st.none() | PATHS,
            "nulls": st.lists(st.text(), max_size=2),
            "dots": st.sampled_from(get_args(Dots)),
            **dict.fromkeys(("trim", "lower", "normalise", "strict"), st.booleans()),
        }
    ),
)
def test_mappings_survive_a_round_trip(
    fields: dict[str, FieldRule],
    user_id: str | None,
    name: str | tuple[str, ...] | None,
    where: dict[str, Any],
    settings: dict[str, Any],
) -> None:
    """This holds for any names, defaults and settings."""
    try:
        mapping = RowMapping(user_id=user_id, name=name, where=where, fields=fields, **settings)
    except ConfigurationError:
        assume(False)  # noqa: FBT003  # Contradictory settings make no mapping.
        raise

    assert read_back(mapping_text(mapping, dict.fromkeys(fields, "1 user"))) == mapping


def test_writes_only_changed_settings() -> None:
    """A comment stands above its field."""
    mapping = RowMapping(user_id="id", fields={"seats": FieldRule(cast="int"), "a.b": FieldRule()})

    assert mapping_text(mapping, {"seats": "2 users"}) == (
        'user_id = "id"\n\n# 2 users\n[fields."seats"]\ncast = "int"\n\n[fields."a.b"]\n'
    )


def test_writes_datetimes_and_dates() -> None:
    """A datetime without a time zone stays without one."""
    default = [date(2026, 11, 21), datetime(2026, 11, 21, 8)]  # noqa: DTZ001
    mapping = RowMapping(timezone="UTC", fields={"seen": FieldRule(cast="dates", default=default)})

    assert read_back(mapping_text(mapping)) == mapping


def test_rejects_defaults_that_toml_lacks() -> None:
    """A decimal would change to a float."""
    mapping = RowMapping(fields={"price": FieldRule(default=Decimal("1.10"))})

    with pytest.raises(ConfigurationError) as caught:
        mapping_text(mapping)

    assert str(caught.value) == "fields.price.default: has a type that TOML does not have"
