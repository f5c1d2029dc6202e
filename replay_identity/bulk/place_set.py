"""Places in a ledger, as one bit each: a million of them in a set of integers would take up 90 MB."""

from collections.abc import Iterable

import attrs


@attrs.define
class PlaceSet:
    """A set of places, which count up from 1."""

    _bits: bytearray = attrs.field(factory=bytearray, init=False, repr=False)
    _count: int = attrs.field(default=0, init=False)

    def __contains__(self, place: int) -> bool:
        byte = place >> 3
        return byte < len(self._bits) and bool(self._bits[byte] & 1 << (place & 7))

    def __len__(self) -> int:
        return self._count

    def add(self, place: int) -> None:
        """Take *place* in."""
        byte, bit = place >> 3, 1 << (place & 7)
        if byte >= len(self._bits):
            self._bits.extend(bytes(byte + 1))  # At least twice as long, so that this happens rarely.
        if not self._bits[byte] & bit:
            self._bits[byte] |= bit
            self._count += 1

    def discard(self, place: int) -> None:
        """Take *place* out, if it is in."""
        byte, bit = place >> 3, 1 << (place & 7)
        if byte < len(self._bits) and self._bits[byte] & bit:
            self._bits[byte] ^= bit
            self._count -= 1

    def update(self, places: Iterable[int]) -> None:
        """Take all *places* in."""
        for place in places:
            self.add(place)

    def difference_update(self, places: Iterable[int]) -> None:
        """Take all *places* out, if they are in."""
        for place in places:
            self.discard(place)
