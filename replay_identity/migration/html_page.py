"""The report of a migration as one page that a person reads, prints and sends on: names and counts, never a value."""

import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Final

from ..bulk import Effort
from ..bulk.books import Books
from ..errors import printable
from ..tally import MOST_PATHS
from .backend_fidelity import BackendFidelity
from .html_bars import Share, bar, gauge, legend
from .html_markup import Markup, element, joined
from .html_properties import GLOSSARY, MEANINGS, counts_table, loses_something, properties_table
from .html_style import STYLE
from .record import Listed
from .report import MigrationReport

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
    books = {one.backend: one for one in report.run.books}
    rehearsed = report.effort is not None
    headline = [_headline(name, one, books.get(name), rehearsed=rehearsed) for name, one in backends.items()]
    yield element("ul", *[element("li", sentence) for sentence in headline], class_="headline")
    yield from _reading(report)
    yield element("h2", "How to read the bars")
    yield legend(MEANINGS)
    for name, counted in backends.items():
        yield element("h2", printable(name))
        yield from _run(books.get(name), (report.effort or {}).get(name), rehearsed=rehearsed)
        yield from _fidelity(counted)
    yield element("h2", "What the words mean")
    yield element("dl", *[joined(element("dt", word), element("dd", said)) for word, said in GLOSSARY.items()])


def _notices(report: MigrationReport) -> Iterable[Markup]:
    """Yield whether it has happened, and that it came to no end; a vendor's own words are kept out of the page."""
    if report.effort is None:
        yield element("p", "This is what happened.", class_="notice")
    else:
        yield element("p", "This is a rehearsal: nothing was sent, and this is what would happen.", class_="notice")
    if report.run.stopped is not None:
        said = "It ended before its end: not all users were read. The output of the command says why."
        yield element("p", said, class_="notice trouble")


def _headline(name: str, counted: BackendFidelity, books: Books | None, *, rehearsed: bool) -> str:
    """Return one sentence about a vendor: of a rehearsal by its limits, of a run by its books."""
    properties = _properties_in_words(sum(map(loses_something, counted.properties.values())), rehearsed=rehearsed)
    if rehearsed:
        return f"{printable(name)} would get {counted.sent:,} of {_users(counted.users)}; {properties}."
    if books is None:
        return f"{printable(name)} was sent nothing."
    pending = f", {books.pending:,} are still to be sent" if books.pending else ""
    held = books.accepted + books.unchanged
    return f"{printable(name)} is up to date with {held:,} of {_users(books.given)}{pending}; {properties}."


def _properties_in_words(count: int, *, rehearsed: bool) -> str:
    if rehearsed:
        return "no property would lose anything" if not count else f"{_properties(count)} would lose something"
    if count == 1:
        return "1 property loses something"
    return f"{_properties(count)} lose something" if count else "no property loses anything"


def _properties(count: int) -> str:
    return "1 property" if count == 1 else f"{count:,} properties"


def _users(count: int) -> str:
    return "1 user" if count == 1 else f"{count:,} users"


def _reading(report: MigrationReport) -> Iterable[Markup]:
    yield element("h2", "What was read")
    if report.listed is not None:
        yield from _listed(report.listed, printable(report.source))
        return
    rows = "1 row" if report.run.rows == 1 else f"{report.run.rows:,} rows"
    yield element("p", f"{printable(report.source)} has {rows}.")
    good = report.run.rows - report.run.bad_row_count
    yield bar((Share(good, "are users", "as-is"), Share(report.run.bad_row_count, "are no users", "refused")))


def _listed(listed: Listed, source: str) -> Iterable[Markup]:
    earlier = f", {listed.earlier:,} of them to earlier runs" if listed.earlier else ""
    yield element("p", f"{source} showed {_users(listed.users)}{earlier}.")
    yield bar(
        (
            Share(listed.given, "taken in", "as-is"),
            Share(listed.anonymous, "anonymous", "held-back", "without an id nobody finds them again elsewhere"),
            Share(listed.being_deleted, "being deleted", "lossless"),
            Share(listed.unusable, "unusable", "refused", "they cannot be, or the mapping refuses them"),
        )
    )
    if listed.restarts:
        times = "once" if listed.restarts == 1 else f"{listed.restarts:,} times"
        yield element("p", f"The reading began anew {times}: a page was no longer known.", class_="faint")
    yield from counts_table(listed.type_conflicts, f"Properties that {source} has seen with several types")


def _run(books: Books | None, effort: Effort | None, *, rehearsed: bool) -> Iterable[Markup]:
    yield element("h3", "What would become of users" if rehearsed else "What became of users in this run")
    if books is None:
        yield element("p", "Nobody was sent.")
        return
    yield bar(
        (
            Share(books.accepted, "accepted", "as-is"),
            Share(books.unchanged, "unchanged", "lossless", "no request was needed"),
            Share(books.rejected, "rejected", "refused"),
            Share(books.pending, "pending", "held-back", "still to be sent"),
        )
    )
    if books.problem is not None:
        yield element("p", "The vendor was given up on. The output of the command says why.", class_="notice trouble")
    if effort is not None:
        yield element("p", _effort(effort))


def _effort(effort: Effort) -> str:
    jobs = f" for {effort.jobs:,} batches" if effort.jobs else ""
    if effort.seconds is None:
        return f"It would take at least {effort.requests:,} requests{jobs}."
    return f"It would take at least {effort.requests:,} requests{jobs}: {_duration(effort.seconds)} at the quota."


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
            Share(counted.refused, "refused", "refused", "they break a limit"),
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
    """Yield the number of names; the counting ends at `MOST_PATHS`, so that a full count is a lower bound."""
    about = "at least " if counted.unique >= MOST_PATHS else ""
    if counted.most_unique is None:
        yield element("p", f"Properties are sent under {about}{counted.unique:,} names. We know of no limit.")
        return
    most = counted.most_unique.maximum
    over = " That is too many." if counted.unique > most else ""
    yield element("p", f"Properties are sent under {about}{counted.unique:,} of at most {most:,} names.{over}")
    yield gauge(counted.unique, most=most, label="names of properties")
