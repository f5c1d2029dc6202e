"""The persons of one project (nodejs/src/ingestion/common/persons/person-update.ts)."""

from collections.abc import Mapping
from uuid import UUID

import attrs

from replay_identity.emulator.http import JsonObject, JsonValue

from .capture import Event

# JavaScript's floats cannot represent every integer beyond this one.
MAX_EXACT_INT = 2**53
# PostgreSQL writes out numbers in full; PostHog clamps larger ones.
MAX_FLOAT = 1e307

# The sender's location becomes the person's, unless the event has `$geoip_disable`
# (https://posthog.com/docs/cdp/geoip-enrichment). Policy: the location of every sender.
LOCATION: JsonObject = {"$geoip_country_code": "IE", "$geoip_city_name": "Dublin"}
NO_LOCATION: JsonObject = {}


@attrs.frozen(kw_only=True)
class Person:
    """A stored person."""

    distinct_id: str = attrs.field(repr=False)
    properties: Mapping[str, JsonValue] = attrs.field(factory=dict[str, JsonValue], repr=False)


@attrs.define
class Persons:
    """Persons by distinct id, and the ids of the events received."""

    by_id: dict[str, Person] = attrs.field(init=False, factory=dict[str, Person], repr=False)
    # Policy: a duplicate event gets the result of a new one and changes nothing. The documentation calls this best
    # effort.
    _seen: set[UUID] = attrs.field(init=False, factory=set[UUID])

    def is_new(self, uuid: UUID) -> bool:
        """Remember an event, and return True if it is new."""
        is_new = uuid not in self._seen
        self._seen.add(uuid)
        return is_new

    def update(self, event: Event) -> bool:
        """Create or update the person of *event*, and return True if it sets or unsets anything."""
        properties = event.properties if isinstance(event.properties, dict) else {}
        if isinstance(event.options, dict) and event.options.get("process_person_profile") is False:
            return False
        to_set, once = _object(properties.get("$set")), _object(properties.get("$set_once"))
        unset = properties.get("$unset")
        to_unset = [*unset] if isinstance(unset, dict | list) else []

        person = self.by_id.get(event.distinct_id) or Person(distinct_id=event.distinct_id)
        location = NO_LOCATION if properties.get("$geoip_disable") is True else LOCATION
        merged = {**_stored_object(once), **person.properties, **location, **_stored_object(to_set)}
        kept = {name: value for name, value in merged.items() if name not in to_unset}
        self.by_id[event.distinct_id] = attrs.evolve(person, properties=kept)
        return bool(to_set or once or to_unset)

    def clear(self) -> None:
        """Delete all persons and event ids."""
        self.by_id.clear()
        self._seen.clear()


def _object(value: JsonValue) -> JsonObject:
    return value if isinstance(value, dict) else {}


def _stored_object(values: JsonObject) -> JsonObject:
    # JavaScript objects lose the value with this name.
    return {_stored_text(name): _stored(value) for name, value in values.items() if name != "__proto__"}


def _stored(value: JsonValue) -> JsonValue:
    """Return *value* as JavaScript and PostgreSQL store it."""
    match value:
        case bool() | None:
            return value
        case str():
            return _stored_text(value)
        case int():
            return value if abs(value) <= MAX_EXACT_INT else int(float(value))
        case float():
            return max(-MAX_FLOAT, min(MAX_FLOAT, value))
        case list():
            return [_stored(item) for item in value]
        case dict():
            return _stored_object(value)


def _stored_text(text: str) -> str:
    return text.replace("\0", "\ufffd")
