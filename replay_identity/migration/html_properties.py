"""Tables of properties on the page of a migration, the worst first."""

from collections.abc import Iterable, Mapping
from typing import Final

from ..errors import printable
from .backend_fidelity import PropertyFidelity
from .html_bars import Share, bar
from .html_markup import Markup, element

# More of them nobody reads; the JSON report has all.
MOST_PROPERTIES: Final = 200

MEANINGS: Final = (
    Share(0, "as is", "as-is", "the value is sent as it is"),
    Share(0, "changed without loss", "lossless", "it is sent otherwise, and nothing is lost"),
    Share(0, "changed with loss", "lossy", "some of it is lost, or it is not sent, though the user is"),
    Share(0, "refused", "refused", "for this value the user is refused"),
    Share(0, "held back", "held-back", "it could be sent, but its user is refused for something else"),
)
GLOSSARY: Final[Mapping[str, str]] = {
    "coerced": "sent as another type or text",
    "flattened": "sent under a dotted name",
    "lifted": "sent as the vendor's own field",
    "removed": "empty, which the vendor takes for a removal",
    "warned": "sent as it is, though the vendor may refuse or drop it",
    "renamed": "sent under a legal name",
    "truncated": "sent in part",
    "dropped": "not sent",
}


def properties_table(properties: Mapping[str, PropertyFidelity]) -> Markup:
    """Return the worst of *properties* with a bar each."""
    if not properties:
        return element("p", "No user had any.")
    worst = sorted(properties.items(), key=_badness)
    rows = [
        element(
            "tr",
            element("th", printable(path), scope="row"),
            element("td", f"{counted.users:,}", class_="count"),
            element("td", bar(_shares(counted)), *_ways(counted)),
        )
        for path, counted in worst[:MOST_PROPERTIES]
    ]
    heading = element(
        "tr",
        element("th", "Property", scope="col"),
        element("th", "Users", scope="col", class_="count"),
        element("th", "What becomes of its values", scope="col"),
    )
    return element(
        "table",
        element("caption", _told(len(properties))),
        element("thead", heading),
        element("tbody", *rows, *_more(len(properties), columns=3)),
    )


def counts_table(counts: Mapping[str, int], title: str) -> Iterable[Markup]:
    """Yield a table of how many users each property concerns, the most first, under its *title*, unless it is empty."""
    if not counts:
        return
    rows = [
        element("tr", element("th", printable(path), scope="row"), element("td", f"{count:,}", class_="count"))
        for path, count in sorted(counts.items(), key=_by_count)[:MOST_PROPERTIES]
    ]
    heading = element("tr", element("th", "Property", scope="col"), element("th", "Users", scope="col", class_="count"))
    yield element(
        "table",
        element("caption", title),
        element("thead", heading),
        element("tbody", *rows, *_more(len(counts), columns=2)),
        class_="narrow",
    )


def loses_something(counted: PropertyFidelity) -> bool:
    """Tell whether some value of the property does not arrive in full, be it with its user."""
    return counted.lossy + counted.refused > 0


def _badness(item: tuple[str, PropertyFidelity]) -> tuple[int, int, int, str]:
    """Return what sorts properties by how many of their values do not arrive, then by how many are changed."""
    path, counted = item
    return -counted.refused - counted.lossy, -counted.refused, -counted.lossless, path


def _by_count(item: tuple[str, int]) -> tuple[int, str]:
    path, count = item
    return -count, path


def _shares(counted: PropertyFidelity) -> list[Share]:
    numbers = (counted.as_is, counted.lossless, counted.lossy, counted.refused, counted.held_back)
    return [Share(number, meaning.label, meaning.colour) for number, meaning in zip(numbers, MEANINGS, strict=True)]


def _ways(counted: PropertyFidelity) -> Iterable[Markup]:
    """Yield how many values are changed in which way; of one value, each way of it counts."""
    counts = ((getattr(counted, word), word) for word in GLOSSARY)
    ways = ", ".join(f"{count:,} {word}" for count, word in counts if count)
    if ways:
        yield element("div", f"Changes: {ways}", class_="faint ways")


def _told(count: int) -> str:
    return "1 property" if count == 1 else f"{count:,} properties, the worst first"


def _more(count: int, *, columns: int) -> list[Markup]:
    if count <= MOST_PROPERTIES:
        return []
    return [element("tr", element("td", f"… and {count - MOST_PROPERTIES:,} more", colspan=columns, class_="faint"))]
