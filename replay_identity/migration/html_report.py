"""The report of a migration as one page that a person reads, prints and sends on: names and counts, never a value."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Final

import attrs

from .._text import pluralize
from ..bulk import Estimate
from ..bulk.report import BackendReport
from ..bulk.stats import MAX_PATHS
from ..errors import printable
from .fidelity import BackendFidelity, PropertyFidelity
from .report import ListingStats, MigrationReport

# Elements without content and without an end.
_VOID: Final = frozenset({"meta"})


class Markup(str):
    """HTML as it is; every other text is escaped before it comes into a page."""

    __slots__ = ()


def element(tag: str, *content: str, **attributes: object) -> Markup:
    """Return an element; of names of attributes, ``aria_label`` is ``aria-label`` and ``class_`` is ``class``."""
    named = "".join(f' {_name(key)}="{escape(str(value))}"' for key, value in attributes.items())
    return Markup(f"<{tag}{named}>" if tag in _VOID else f"<{tag}{named}>{joined(*content)}</{tag}>")


def joined(*content: str) -> Markup:
    """Return the pieces of *content* one after the other, those that are no markup escaped."""
    return Markup("".join(piece if isinstance(piece, Markup) else escape(piece) for piece in content))


def _name(key: str) -> str:
    return key.rstrip("_").replace("_", "-")


@attrs.frozen
class Share:
    """One part of a bar.

    Attributes:
        count: How much of it there is.
        label: What it is, in words.
        colour: Name of the class that paints it.
        detail: What else there is to say of it.
    """

    count: int
    label: str
    colour: str
    detail: str = ""


def bar(shares: Sequence[Share]) -> Markup:
    """Return *shares* of their sum as one bar, and below it the number of each that is not 0."""
    present = [share for share in shares if share.count]
    total = sum(share.count for share in present)
    pieces = [
        element("span", class_=f"piece {share.colour}", style=f"width:{100 * share.count / total:.3f}%")
        for share in present
    ]
    spoken = ", ".join(f"{share.count:,} {share.label}" for share in present) or "nobody"
    return joined(element("div", *pieces, class_="bar", role="img", aria_label=spoken), _numbers(present))


def legend(shares: Sequence[Share]) -> Markup:
    """Return what the colours of *shares* mean."""
    items = [
        element("li", _swatch(share), element("span", element("b", share.label), f": {share.detail}"))
        for share in shares
    ]
    return element("ul", *items, class_="legend", aria_label="What the colours mean")


def gauge(count: int, *, most: int, label: str) -> Markup:
    """Return how much of the *most* that is allowed *count* is."""
    level = "refused" if count > most else "lossy" if count > 0.8 * most else "as-is"
    full = min(100.0, 100 * count / most)
    piece = element("span", class_=f"piece {level}", style=f"width:{full:.3f}%")
    spoken = f"{count:,} of {most:,} {label}"
    return element(
        "div",
        piece,
        class_="bar gauge",
        role="meter",
        aria_valuemin=0,
        aria_valuemax=most,
        aria_valuenow=min(count, most),
        aria_valuetext=spoken,
        aria_label=label,
    )


def _numbers(shares: Sequence[Share]) -> Markup:
    items = [element("li", _swatch(share), element("span", *_said(share))) for share in shares]
    return element("ul", *items, class_="numbers") if items else Markup()


def _said(share: Share) -> tuple[str, ...]:
    detail = f" ({share.detail})" if share.detail else ""
    return element("b", f"{share.count:,}"), f" {share.label}{detail}"


def _swatch(share: Share) -> Markup:
    return element("span", class_=f"swatch {share.colour}", aria_hidden="true")


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
    return counted.lossy + counted.rejected > 0


def _badness(item: tuple[str, PropertyFidelity]) -> tuple[int, int, int, str]:
    """Return what sorts properties by how many of their values do not arrive, then by how many are changed."""
    path, counted = item
    return -counted.rejected - counted.lossy, -counted.rejected, -counted.lossless, path


def _by_count(item: tuple[str, int]) -> tuple[int, str]:
    path, count = item
    return -count, path


def _shares(counted: PropertyFidelity) -> list[Share]:
    numbers = (counted.as_is, counted.lossless, counted.lossy, counted.rejected, counted.held_back)
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


# Stripes tell what is lost and what is refused to those who see no difference between the colours.
STYLE: Final = """
:root {
  color-scheme: light dark;
  --page: #ffffff; --text: #1b1f24; --faint: #59636e; --line: #d5dae0; --empty: #eceff2;
  --as-is: #2f7d4f; --lossless: #4f8fd0; --lossy: #d99a1c; --refused: #c0392b; --held-back: #8b949e;
  --stripe: rgb(255 255 255 / 45%);
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #14171b; --text: #e4e8ec; --faint: #9aa4af; --line: #343b43; --empty: #262c33;
    --as-is: #46a870; --lossless: #5b9fe3; --lossy: #e0a83a; --refused: #e2604f; --held-back: #76808b;
    --stripe: rgb(0 0 0 / 40%);
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; max-width: 68rem; padding: 1.5rem 1rem 3rem; background: var(--page); color: var(--text);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere;
}
h1 { margin: 0; font-size: 1.7rem; line-height: 1.25; }
h2 { margin: 2.5rem 0 .5rem; padding-top: 1rem; border-top: 2px solid var(--line); font-size: 1.35rem; }
h3 { margin: 1.5rem 0 .4rem; font-size: 1.05rem; }
p { margin: .4rem 0; max-width: 48rem; }
.faint { color: var(--faint); }
.notice { padding: .5rem .8rem; border-left: .3rem solid var(--lossless); background: var(--empty); }
.notice.trouble { border-color: var(--refused); }
.headline { margin: 1rem 0; padding: 0; list-style: none; font-size: 1.15rem; font-weight: 600; }
.bar { display: flex; height: 1rem; overflow: hidden; border-radius: .2rem; background: var(--empty); }
.piece { flex: 0 1 auto; min-width: 2px; }
.gauge { max-width: 32rem; }
.as-is { background: var(--as-is); }
.lossless { background: var(--lossless); }
.lossy { background: repeating-linear-gradient(45deg, var(--lossy) 0 6px, var(--stripe) 6px 8px), var(--lossy); }
.refused { background: repeating-linear-gradient(-45deg, var(--refused) 0 4px, var(--stripe) 4px 6px), var(--refused); }
.held-back { background: var(--held-back); }
.bar, .swatch { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
.swatch { flex: none; width: .75em; height: .75em; margin-top: .4em; border-radius: .15em; }
.numbers, .legend { display: flex; flex-wrap: wrap; gap: 0 1.2rem; margin: .25rem 0; padding: 0; list-style: none; }
.numbers, .ways { font-size: .9rem; }
.numbers li, .legend li { display: flex; gap: .4rem; }
.legend { flex-direction: column; font-size: .95rem; }
table { width: 100%; border-collapse: collapse; }
table.narrow { width: auto; min-width: 18rem; }
caption { padding: .2rem 0; text-align: left; color: var(--faint); font-size: .95rem; }
th, td { padding: .45rem .6rem .45rem 0; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
thead th { font-size: .9rem; color: var(--faint); }
tbody th { width: 30%; font-family: ui-monospace, monospace; font-size: .9rem; font-weight: 600; }
table.narrow tbody th { width: auto; }
.count { width: 5.5rem; padding-right: 1rem; text-align: right; white-space: nowrap; }
.count { font-variant-numeric: tabular-nums; }
dt { font-weight: 600; }
dd { margin: 0 0 .3rem; }
@media (max-width: 40rem) {
  body { padding: 1rem .7rem 2rem; }
  .headline { font-size: 1.05rem; }
  .numbers { display: block; }
}
@media print {
  :root { color-scheme: light; }
  body { max-width: none; padding: 0; font-size: 10pt; }
  tr, .bar, .numbers { break-inside: avoid; }
  h2, h3, caption { break-after: avoid; }
  thead { display: table-header-group; }
}
"""


# Whatever came into the page against our will may neither run nor ask anybody for anything.
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"


def html_page(report: MigrationReport, *, clock: Callable[[], float] = time.time) -> str:
    """Return *report* as an HTML document that needs nothing else.

    Args:
        report: What a migration came to, or would come to.
        clock: Seconds since 1970; the page carries the day of it, in UTC.
    """
    day = datetime.fromtimestamp(clock(), UTC).date()
    title = f"Migration from {printable(report.source)}"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        element("style", Markup(STYLE)),
    )
    opening = (element("h1", title), element("p", f"Report of {day.isoformat()} (UTC)", class_="faint"))
    body = element("body", element("main", *opening, *_sections(report)))
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"


def _sections(report: MigrationReport) -> Iterable[Markup]:
    yield from _notices(report)
    backends = report.fidelity.backends
    counts = {one.backend: one for one in report.run.backends}
    is_dry_run = report.estimate is not None
    headline = [_headline(name, one, counts.get(name), is_dry_run=is_dry_run) for name, one in backends.items()]
    yield element("ul", *[element("li", sentence) for sentence in headline], class_="headline")
    yield from _reading(report)
    yield element("h2", "How to read the bars")
    yield legend(MEANINGS)
    for name, counted in backends.items():
        yield element("h2", printable(name))
        yield from _run(counts.get(name), (report.estimate or {}).get(name), is_dry_run=is_dry_run)
        yield from _fidelity(counted)
    yield element("h2", "What the words mean")
    yield element("dl", *[joined(element("dt", word), element("dd", said)) for word, said in GLOSSARY.items()])


def _notices(report: MigrationReport) -> Iterable[Markup]:
    """Yield whether it has happened, and that it came to no end; a vendor's own words are kept out of the page."""
    if report.estimate is None:
        yield element("p", "This is what happened.", class_="notice")
    else:
        yield element("p", "This is a rehearsal: nothing was sent, and this is what would happen.", class_="notice")
    if report.run.stopped is not None:
        said = "It ended before its end: not all users were read. The output of the command says why."
        yield element("p", said, class_="notice trouble")


def _headline(name: str, counted: BackendFidelity, counts: BackendReport | None, *, is_dry_run: bool) -> str:
    """Return one sentence about a vendor: of a rehearsal by its limits, of a run by its books."""
    properties = _properties_in_words(sum(map(loses_something, counted.properties.values())), is_dry_run=is_dry_run)
    if is_dry_run:
        return f"{printable(name)} would get {counted.sent:,} of {pluralize(counted.users, 'user')}; {properties}."
    if counts is None:
        return f"{printable(name)} was sent nothing."
    pending = f", {counts.pending:,} are still to be sent" if counts.pending else ""
    held = counts.accepted + counts.unchanged
    return f"{printable(name)} is up to date with {held:,} of {pluralize(counts.given, 'user')}{pending}; {properties}."


def _properties_in_words(count: int, *, is_dry_run: bool) -> str:
    if is_dry_run:
        return "no property would lose anything" if not count else f"{_properties(count)} would lose something"
    if count == 1:
        return "1 property loses something"
    return f"{_properties(count)} lose something" if count else "no property loses anything"


def _properties(count: int) -> str:
    return pluralize(count, "property", "properties")


def _reading(report: MigrationReport) -> Iterable[Markup]:
    yield element("h2", "What was read")
    if report.listing is not None:
        yield from _listed(report.listing, printable(report.source))
        return
    yield element("p", f"{printable(report.source)} has {pluralize(report.run.rows, 'row')}.")
    good = report.run.rows - report.run.bad_row_count
    yield bar((Share(good, "are users", "as-is"), Share(report.run.bad_row_count, "are no users", "refused")))


def _listed(listing: ListingStats, source: str) -> Iterable[Markup]:
    earlier = f", {listing.earlier:,} of them to earlier runs" if listing.earlier else ""
    yield element("p", f"{source} showed {pluralize(listing.users, 'user')}{earlier}.")
    yield bar(
        (
            Share(listing.given, "taken in", "as-is"),
            Share(listing.anonymous, "anonymous", "held-back", "without an id nobody finds them again elsewhere"),
            Share(listing.being_deleted, "being deleted", "lossless"),
            Share(listing.unusable, "unusable", "refused", "they cannot be, or the mapping refuses them"),
        )
    )
    if listing.restarts:
        times = "once" if listing.restarts == 1 else f"{listing.restarts:,} times"
        yield element("p", f"The reading began anew {times}: a page was no longer known.", class_="faint")
    yield from counts_table(listing.type_conflicts, f"Properties that {source} has seen with several types")


def _run(counts: BackendReport | None, estimate: Estimate | None, *, is_dry_run: bool) -> Iterable[Markup]:
    yield element("h3", "What would become of users" if is_dry_run else "What became of users in this run")
    if counts is None:
        yield element("p", "Nobody was sent.")
        return
    yield bar(
        (
            Share(counts.accepted, "accepted", "as-is"),
            Share(counts.unchanged, "unchanged", "lossless", "no request was needed"),
            Share(counts.rejected, "rejected", "refused"),
            Share(counts.pending, "pending", "held-back", "still to be sent"),
        )
    )
    if counts.problem is not None:
        yield element("p", "The vendor was given up on. The output of the command says why.", class_="notice trouble")
    if estimate is not None:
        yield element("p", _effort(estimate))


def _effort(estimate: Estimate) -> str:
    jobs = f" for {estimate.jobs:,} batches" if estimate.jobs else ""
    if estimate.seconds is None:
        return f"It would take at least {estimate.requests:,} requests{jobs}."
    return f"It would take at least {estimate.requests:,} requests{jobs}: {_duration(estimate.seconds)} at the quota."


def _duration(seconds: float) -> str:
    """Return about how long it is, in the unit that a person would use."""
    for unit, length in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"about {seconds / length:,.0f} {unit}"
    return f"about {max(1, round(seconds)):,} s"


def _fidelity(counted: BackendFidelity) -> Iterable[Markup]:
    yield element("h3", "What the limits make of users")
    yield bar(
        (
            Share(counted.sent, "can be sent", "as-is"),
            Share(counted.skipped, "skipped", "lossless", "there is nothing to send"),
            Share(counted.rejected, "refused", "refused", "they break a limit"),
            Share(counted.broken, "broken", "lossy", "the adapter failed"),
        )
    )
    yield element("h3", "What becomes of properties")
    yield properties_table(counted.properties)
    yield from _collisions(counted.collisions)
    yield element("h3", "Different properties")
    yield from _unique(counted)


def _collisions(collisions: Mapping[str, int]) -> Iterable[Markup]:
    return counts_table(collisions, "Properties that would have the name of another one: their users are refused")


def _unique(counted: BackendFidelity) -> Iterable[Markup]:
    """Yield the number of names; the counting ends at `MAX_PATHS`, so that a full count is a lower bound."""
    about = "at least " if counted.unique >= MAX_PATHS else ""
    if counted.most_unique is None:
        yield element("p", f"Properties are sent under {about}{counted.unique:,} names. We know of no limit.")
        return
    most = counted.most_unique.maximum
    over = " That is too many." if counted.unique > most else ""
    yield element("p", f"Properties are sent under {about}{counted.unique:,} of at most {most:,} names.{over}")
    yield gauge(counted.unique, most=most, label="names of properties")
