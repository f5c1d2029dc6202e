"""The persons of one project (nodejs/src/ingestion/common/persons/person-update.ts)."""

from collections.abc import Mapping
from uuid import UUID

import attrs

from replay_identity.emulator.http import JsonObject, JsonValue

from .batch import Event

# Beyond this, the numbers of JavaScript skip some.
LARGEST_SAFE = 2**53
# PostgreSQL writes out numbers in full; what is larger is clamped.
LARGEST = 1e307

# The place that a request comes from becomes the person's, unless the event has `$geoip_disable`
# (https://posthog.com/docs/cdp/geoip-enrichment). Policy: everybody sends from here.
PLACE: JsonObject = {"$geoip_country_code": "IE", "$geoip_city_name": "Dublin"}
NO_PLACE: JsonObject = {}


@attrs.frozen(kw_only=True)
class Person:
    """A person as stored."""

    distinct_id: str = attrs.field(repr=False)
    properties: Mapping[str, JsonValue] = attrs.field(factory=dict[str, JsonValue], repr=False)


@attrs.define
class Persons:
    """Persons by distinct id, and the events they were made of."""

    known: dict[str, Person] = attrs.field(init=False, factory=dict[str, Person], repr=False)
    # Policy: an event whose id was seen is answered as if it was taken, and changes nobody. The documents call this
    # best effort.
    _seen: set[UUID] = attrs.field(init=False, factory=set[UUID])

    def keep(self, uuid: UUID) -> bool:
        """Remember an event and tell whether it is new."""
        is_new = uuid not in self._seen
        self._seen.add(uuid)
        return is_new

    def update(self, event: Event) -> bool:
        """Change the person that *event* is about, who may be new, and tell whether it says anything."""
        said = event.properties if isinstance(event.properties, dict) else {}
        if isinstance(event.options, dict) and event.options.get("process_person_profile") is False:
            return False
        to_set, once = _object(said.get("$set")), _object(said.get("$set_once"))
        unset = said.get("$unset")
        to_unset = [*unset] if isinstance(unset, dict | list) else []

        person = self.known.get(event.distinct_id) or Person(distinct_id=event.distinct_id)
        place = NO_PLACE if said.get("$geoip_disable") is True else PLACE
        merged = {**_kept_object(once), **person.properties, **place, **_kept_object(to_set)}
        properties = {name: value for name, value in merged.items() if name not in to_unset}
        self.known[event.distinct_id] = attrs.evolve(person, properties=properties)
        return bool(to_set or once or to_unset)

    def clear(self) -> None:
        """Forget everybody."""
        self.known.clear()
        self._seen.clear()


def _object(value: JsonValue) -> JsonObject:
    return value if isinstance(value, dict) else {}


def _kept_object(values: JsonObject) -> JsonObject:
    # JavaScript loses what is put under that name.
    return {_kept_text(name): _kept(value) for name, value in values.items() if name != "__proto__"}


def _kept(value: JsonValue) -> JsonValue:
    """Return *value* as it is after JavaScript and PostgreSQL had it."""
    match value:
        case bool() | None:
            return value
        case str():
            return _kept_text(value)
        case int():
            return value if abs(value) <= LARGEST_SAFE else int(float(value))
        case float():
            return max(-LARGEST, min(LARGEST, value))
        case list():
            return [_kept(item) for item in value]
        case dict():
            return _kept_object(value)


def _kept_text(text: str) -> str:
    return text.replace("\0", "\ufffd")
