"""The mappings that come with the package, applied to samples of the exports that they are for."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest

from replay_identity import ConfigurationError, UserTraits, read_rows
from replay_identity.mapping import PRESETS, FieldRule, RowMapping, load_mapping, mapping_text
from replay_identity.sources import BadRow, Row, read_users

SAMPLES: Final = Path(__file__).with_name("presets")
JUNE: Final = datetime(2026, 6, 1, 8, tzinfo=UTC)
NOOR: Final[dict[str, Any]] = {"name": "Noor Haddad", "email": "noor@example.com"}
IVO: Final[dict[str, Any]] = {"email": "ivo@example.org"}
DELETED: Final = "{}: has a value, which marks the row as deleted, or as something else than a user"
NONE_CHOSEN: Final = (
    "distinct_ids: has only ids that anonymous visitors may have; set user_id to another field that holds yours"
)

EXPECTED: Final[dict[str, list[UserTraits | str]]] = {
    "airbyte": [
        UserTraits("41", **NOOR, traits={"plan": "team"}),
        UserTraits("42", **IVO, traits={"seats": 3}),
        UserTraits("43", traits={"plan": "free"}),
        DELETED.format("_ab_cdc_deleted_at"),
        UserTraits("45"),
    ],
    "hubspot": [
        UserTraits(
            "501",
            **NOOR,
            traits={
                "phone_number": "+33 1 23 45 67 89",
                "lifecycle_stage": "customer",
                "create_date": "2026-01-02 03:04",
                "Favourite Colours": "red;blue",
                "Acct. Mgr": "Kim",
            },
        ),
        UserTraits("502", name="Ivo", **IVO, traits={"create_date": "2026-01-03 04:05"}),
    ],
    "intercom": [
        UserTraits(
            "ic-1",
            **NOOR,
            traits={
                "paid_subscriber": True,
                "monthly_spend": 155.5,
                "created_at": JUNE,
                "signed_up_at": JUNE,
                "phone": "+33123456789",
            },
            types={"created_at": "date", "signed_up_at": "date", "last_seen_at": "date"},
            observed_at=JUNE.replace(day=2),
        ),
        UserTraits(
            "ic-2",
            **IVO,
            traits={"created_at": JUNE.replace(second=1)},
            types={"created_at": "date", "signed_up_at": "date", "last_seen_at": "date"},
        ),
        DELETED.format("role"),
        DELETED.format("role"),
        UserTraits(
            "ic-5", traits={"seats": 2}, types=dict.fromkeys(["created_at", "signed_up_at", "last_seen_at"], "date")
        ),
    ],
    "mixpanel": [
        UserTraits(
            "mx-1",
            **NOOR,
            traits={
                "created": "2026-01-01T00:00:00",
                "last_seen": "2026-05-13T04:28:48",
                "plan": "team",
            },
        ),
        UserTraits("2", **IVO, traits={"seats": 3}),
        "$distinct_id: is the id of an anonymous visitor",
        "$distinct_id: is the id of an anonymous visitor",
        UserTraits("018f0c1e-5b7a-7c3e-9d21-1d2f3a4b5c6d"),
    ],
    "posthog": [
        UserTraits(
            "ph-1",
            **NOOR,
            traits={
                "plan": "team",
                "geoip_country_code": "FR",
                "created_at": datetime(2026, 3, 12, 20, 50, 6, tzinfo=UTC),
            },
            types={"created_at": "date"},
        ),
        NONE_CHOSEN,
        UserTraits("ph-3", name="Kim", types={"created_at": "date"}),
        "distinct_ids: has several ids that may be the user's; set user_id to another field that holds yours",
        NONE_CHOSEN,
        NONE_CHOSEN,
    ],
    "segment": [
        UserTraits(
            "sg-1",
            **NOOR,
            traits={"plan": "team", "logins": 5, "address": {"city": "Lyon"}},
            observed_at=datetime(2026, 5, 1, 10, 0, 0, 123_000, tzinfo=UTC),
        ),
        UserTraits("sg-2", **IVO, traits={"type": "trial"}, observed_at=datetime(2026, 5, 1, 12, tzinfo=UTC)),
        "userId: the id is null",
    ],
    "singer": [
        UserTraits("7", **NOOR, traits={"plan": "team"}, observed_at=JUNE),
        UserTraits("8", **IVO, traits={"stream": "beta"}),
        DELETED.format("_sdc_deleted_at"),
        UserTraits("10", traits={"plan": "free"}),
    ],
}


@pytest.mark.parametrize("name", PRESETS)
def test_reads_a_sample_of_each_export(name: str) -> None:
    """Other messages than those about users are left out, and users without an id are bad rows."""
    (sample,) = SAMPLES.glob(f"{name}.*")

    rows = read_users(sample, mapping=RowMapping.preset(name))

    assert [row.problem if isinstance(row, BadRow) else row.user for row in rows] == EXPECTED[name]


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_survives_a_round_trip(name: str, tmp_path: Path) -> None:
    """It can be written to a file and changed there."""
    preset = RowMapping.preset(name)
    (tmp_path / "mapping.toml").write_text(mapping_text(preset), encoding="utf-8")

    assert load_mapping(tmp_path / "mapping.toml") == preset
    assert not preset.strict


def test_each_preset_has_a_file() -> None:
    """No file is left over."""
    package = Path(__file__).parents[2] / "replay_identity" / "mapping" / "presets"

    assert sorted(path.stem for path in package.iterdir()) == sorted(PRESETS)


@pytest.mark.parametrize(
    ("name", "hint"), [("Segmnt", "did you mean segment?"), ("xyz", ""), ("../segment", "did you")]
)
def test_names_the_presets_there_are(name: str, hint: str) -> None:
    """A similar name is suggested."""
    with pytest.raises(ConfigurationError) as caught:
        RowMapping.preset(name)

    assert caught.value.setting == "preset"
    assert caught.value.problem == f"expected one of {', '.join(PRESETS)}"
    assert caught.value.hint.startswith(hint)


def test_reads_a_list_of_ids_in_columns(tmp_path: Path) -> None:
    """As PostHog writes one to CSV."""
    path = tmp_path / "persons.csv"
    path.write_text("distinct_ids.0,distinct_ids.1,properties.email\nu1,anon-1,ivo@example.org\nanon-2,u2,\nu3,u4,\n")

    rows = read_users(path, mapping=RowMapping.preset("posthog"))

    assert [row.user.user_id for row in rows if isinstance(row, Row)] == ["u1", "u2"]
    assert list(rows.read_ids()) == ["u1", "u2"]


def test_keeps_nothing_of_a_field_that_marks_rows() -> None:
    """Not even its removal."""
    rule = FieldRule(cast="none", null="remove")

    rows = read_rows([{"id": "u1", "deleted": None}], mapping=RowMapping(fields={"deleted": rule}))

    assert [row.user for row in rows if isinstance(row, Row)] == [UserTraits("u1")]
