"""Render a migration report as one HTML page of names and counts, without any value of a user."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.resources import files
from typing import Final

import attrs
from markupsafe import Markup

from .._text import pluralize
from ..bulk import Estimate
from ..bulk.report import BackendReport
from ..bulk.stats import MAX_PATHS
from ..errors import printable
from .fidelity import BackendFidelity, PropertyFidelity
from .report import ListingStats, MigrationReport

# More rows than this are not read by anyone; the JSON report has all of them.
MAX_PROPERTIES: Final = 200

# The policy keeps a page from running or loading anything, even if markup were injected.
_PAGE: Final = Markup("""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<main>
<h1>{title}</h1>
<p class="faint">Report of {day} (UTC)</p>
{content}
</main>
</body>
</html>
""")
_HEADING: Final = Markup("<h2>{}</h2>")
_SUBHEADING: Final = Markup("<h3>{}</h3>")
_PARAGRAPH: Final = Markup("<p>{}</p>")
_FAINT: Final = Markup('<p class="faint">{}</p>')
_NOTICE: Final = Markup('<p class="notice">{}</p>')
_ERROR: Final = Markup('<p class="notice trouble">{}</p>')
_HEADLINE: Final = Markup('<ul class="headline">{}</ul>')
_ITEM: Final = Markup("<li>{}</li>")
_TERM: Final = Markup("<dt>{}</dt><dd>{}</dd>")
_TERMS: Final = Markup("<dl>{}</dl>")

_BAR: Final = Markup('<div class="bar" role="img" aria-label="{label}">{pieces}</div>{numbers}')
_PIECE: Final = Markup('<span class="piece {colour}" style="width:{percent:.3f}%"></span>')
_NUMBERS: Final = Markup('<ul class="numbers">{}</ul>')
_NUMBER: Final = Markup(
    '<li><span class="swatch {colour}" aria-hidden="true"></span><span><b>{count:,}</b> {label}{detail}</span></li>'
)
_LEGEND: Final = Markup('<ul class="legend" aria-label="What the colours mean">{}</ul>')
_LEGEND_ITEM: Final = Markup(
    '<li><span class="swatch {colour}" aria-hidden="true"></span><span><b>{label}</b>: {detail}</span></li>'
)
_GAUGE: Final = Markup(
    '<div class="bar gauge" role="meter" aria-valuemin="0" aria-valuemax="{maximum}" aria-valuenow="{now}"'
    ' aria-valuetext="{count:,} of {maximum:,} {label}" aria-label="{label}">{piece}</div>'
)

_PROPERTIES: Final = Markup("""\
<table>
<caption>{caption}</caption>
<thead><tr><th scope="col">Property</th><th scope="col" class="count">Users</th>\
<th scope="col">What happens to its values</th></tr></thead>
<tbody>{rows}</tbody>
</table>""")
_PROPERTY: Final = Markup("""
<tr><th scope="row">{path}</th><td class="count">{users:,}</td><td>{bar}{changes}</td></tr>""")
_CHANGES: Final = Markup('<div class="faint ways">Changes: {}</div>')
_COUNTS: Final = Markup("""\
<table class="narrow">
<caption>{caption}</caption>
<thead><tr><th scope="col">Property</th><th scope="col" class="count">Users</th></tr></thead>
<tbody>{rows}</tbody>
</table>""")
_COUNT: Final = Markup("""
<tr><th scope="row">{path}</th><td class="count">{count:,}</td></tr>""")
_MORE: Final = Markup("""
<tr><td colspan="{columns}" class="faint">… and {count:,} more</td></tr>""")


@attrs.frozen
class Share:
    """One part of a bar.

    Attributes:
        count: Its size.
        label: What it counts.
        colour: CSS class that colours it.
        detail: An explanation, or an empty string.
    """

    count: int
    label: str
    colour: str
    detail: str = ""


_MEANINGS: Final = (
    Share(0, "as is", "as-is", "the value is sent unchanged"),
    Share(0, "changed without loss", "lossless", "the value is sent in another form, and nothing is lost"),
    Share(0, "changed with loss", "lossy", "the user is sent, but part or all of the value is lost"),
    Share(0, "rejected", "rejected", "the user is rejected because of this value"),
    Share(0, "held back", "held-back", "the value is valid, but its user is rejected for another reason"),
)
_CHANGE_MEANINGS: Final[Mapping[str, str]] = {
    "coerced": "sent as another type or text",
    "flattened": "sent under a dotted name",
    "lifted": "sent as a field of the vendor's own",
    "removed": "empty, which the vendor treats as a removal",
    "warned": "sent unchanged, though the vendor may reject or drop it",
    "renamed": "sent under a valid name",
    "truncated": "sent in part",
    "dropped": "not sent",
}


def html_page(report: MigrationReport, *, clock: Callable[[], float] = time.time) -> str:
    """Return *report* as an HTML document that loads nothing and runs no script.

    Args:
        report: The result of a migration, or of a dry run.
        clock: Returns seconds since 1970; the page shows the day in UTC.
    """
    page = _PAGE.format(
        title=f"Migration from {printable(report.source)}",
        style=Markup(files("replay_identity.migration").joinpath("report.css").read_text(encoding="utf-8")),  # noqa: S704  # A file of ours.
        day=datetime.fromtimestamp(clock(), UTC).date().isoformat(),
        content=Markup("\n").join(_sections(report)),
    )
    # A Markup would escape whatever a caller adds to it.
    return str(page)


def _sections(report: MigrationReport) -> Iterator[Markup]:
    yield from _notices(report)
    runs = {run.backend: run for run in report.run.backends}
    is_dry_run = report.estimate is not None
    backends = report.fidelity.backends
    headlines = [
        _headline(name, fidelity, runs.get(name), is_dry_run=is_dry_run) for name, fidelity in backends.items()
    ]
    yield _HEADLINE.format(_concat(map(_ITEM.format, headlines)))
    yield from _source(report)
    yield _HEADING.format("How to read the bars")
    yield _legend(_MEANINGS)
    for name, fidelity in backends.items():
        yield _HEADING.format(printable(name))
        yield from _run(runs.get(name), (report.estimate or {}).get(name), is_dry_run=is_dry_run)
        yield from _fidelity(fidelity)
    yield _HEADING.format("What the changes mean")
    yield _TERMS.format(_concat([_TERM.format(kind, meaning) for kind, meaning in _CHANGE_MEANINGS.items()]))


def _notices(report: MigrationReport) -> Iterator[Markup]:
    """Yield what kind of report this is, and whether it is incomplete, without the text of an error."""
    if report.estimate is None:
        yield _NOTICE.format("This is the report of a migration.")
    else:
        yield _NOTICE.format("This is the report of a dry run: nothing was sent, and this is what would happen.")
    if report.run.stopped is not None:
        yield _ERROR.format("The run stopped early: not all users were read. The output of the command says why.")


def _headline(name: str, fidelity: BackendFidelity, run: BackendReport | None, *, is_dry_run: bool) -> str:
    lossy = sum(map(_loses_something, fidelity.properties.values()))
    if is_dry_run:
        losses = _losses(lossy, singular="would lose", plural="would lose")
        return f"{printable(name)} would get {fidelity.sent:,} of {pluralize(fidelity.users, 'user')}; {losses}."
    if run is None:
        return f"{printable(name)} was sent nothing."
    losses = _losses(lossy, singular="loses", plural="lose")
    pending = f", {run.pending:,} still pending" if run.pending else ""
    confirmed = run.accepted + run.unchanged
    return f"{printable(name)} is up to date with {confirmed:,} of {pluralize(run.given, 'user')}{pending}; {losses}."


def _losses(count: int, *, singular: str, plural: str) -> str:
    if count == 0:
        return f"no property {singular} anything"
    verb = singular if count == 1 else plural
    return f"{pluralize(count, 'property', 'properties')} {verb} something"


def _loses_something(counts: PropertyFidelity) -> bool:
    """Return True if some value does not arrive in full, alone or with its user."""
    return counts.lossy + counts.rejected > 0


def _source(report: MigrationReport) -> Iterator[Markup]:
    yield _HEADING.format("What was read")
    if report.listing is not None:
        yield from _listing(report.listing, printable(report.source))
        return
    yield _PARAGRAPH.format(f"{printable(report.source)} has {pluralize(report.run.rows, 'row')}.")
    users = report.run.rows - report.run.bad_row_count
    yield _bar((Share(users, "valid", "as-is"), Share(report.run.bad_row_count, "not valid", "rejected")))


def _listing(listing: ListingStats, source: str) -> Iterator[Markup]:
    earlier = f", {listing.earlier:,} of them in earlier runs" if listing.earlier else ""
    yield _PARAGRAPH.format(f"{source} listed {pluralize(listing.users, 'user')}{earlier}.")
    yield _bar(
        (
            Share(listing.usable, "usable", "as-is"),
            Share(listing.anonymous, "anonymous", "held-back", "without an id they cannot be found again"),
            Share(listing.being_deleted, "being deleted", "lossless"),
            Share(listing.unusable, "unusable", "rejected", "not valid, or rejected by the mapping"),
        )
    )
    if listing.restarts:
        times = "once" if listing.restarts == 1 else f"{listing.restarts:,} times"
        yield _FAINT.format(f"Reading started again from the first page {times}, because a page token had expired.")
    yield from _counts_table(listing.type_conflicts, f"Properties that {source} has seen with several types")


def _run(run: BackendReport | None, estimate: Estimate | None, *, is_dry_run: bool) -> Iterator[Markup]:
    yield _SUBHEADING.format("Users in a run" if is_dry_run else "Users in this run")
    if run is None:
        yield _PARAGRAPH.format("No user was sent.")
        return
    yield _bar(
        (
            Share(run.accepted, "accepted", "as-is"),
            Share(run.unchanged, "unchanged", "lossless", "no request was needed"),
            Share(run.rejected, "rejected", "rejected"),
            Share(run.pending, "pending", "held-back", "still to be sent"),
        )
    )
    if run.problem is not None:
        yield _ERROR.format("Delivery to this backend was given up. The output of the command says why.")
    if estimate is not None:
        yield _PARAGRAPH.format(_cost(estimate))


def _cost(estimate: Estimate) -> str:
    jobs = f" for {pluralize(estimate.jobs, 'batch', 'batches')}" if estimate.jobs else ""
    duration = "" if estimate.seconds is None else f": {_duration(estimate.seconds)} at the quota"
    return f"A run takes at least {pluralize(estimate.requests, 'request')}{jobs}{duration}."


def _duration(seconds: float) -> str:
    for unit, length in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"about {seconds / length:,.0f} {unit}"
    return f"about {max(1, round(seconds)):,} s"


def _fidelity(fidelity: BackendFidelity) -> Iterator[Markup]:
    yield _SUBHEADING.format("Users within the limits")
    yield _bar(
        (
            Share(fidelity.sent, "can be sent", "as-is"),
            Share(fidelity.skipped, "skipped", "lossless", "there is nothing to send"),
            Share(fidelity.rejected, "rejected", "rejected", "they exceed a limit"),
            Share(fidelity.broken, "broken", "lossy", "the adapter failed"),
        )
    )
    yield _SUBHEADING.format("Properties")
    yield _properties_table(fidelity.properties)
    caption = "Properties that would get the name of another one; their users are rejected"
    yield from _counts_table(fidelity.collisions, caption)
    yield _SUBHEADING.format("Names of properties")
    yield from _unique_names(fidelity)


def _unique_names(fidelity: BackendFidelity) -> Iterator[Markup]:
    count = fidelity.unique_names
    # Counting stops at this number, so it is a lower bound.
    at_least = "at least " if count >= MAX_PATHS else ""
    if fidelity.max_unique_names is None:
        yield _PARAGRAPH.format(f"Properties are sent under {at_least}{pluralize(count, 'name')}. No limit is known.")
        return
    maximum = fidelity.max_unique_names.maximum
    warning = " That is too many." if count > maximum else ""
    yield _PARAGRAPH.format(f"Properties are sent under {at_least}{count:,} of at most {maximum:,} names.{warning}")
    yield _gauge(count, maximum=maximum, label="names of properties")


def _properties_table(properties: Mapping[str, PropertyFidelity]) -> Markup:
    if not properties:
        return _PARAGRAPH.format("No user had any properties.")
    rows = [
        _PROPERTY.format(path=printable(path), users=counts.users, bar=_bar(_shares(counts)), changes=_changes(counts))
        for path, counts in sorted(properties.items(), key=_worst_first)[:MAX_PROPERTIES]
    ]
    caption = "1 property" if len(properties) == 1 else f"{len(properties):,} properties, the worst first"
    return _PROPERTIES.format(caption=caption, rows=_concat([*rows, *_more(len(properties), columns=3)]))


def _worst_first(item: tuple[str, PropertyFidelity]) -> tuple[int, int, int, str]:
    """Return a sort key: most values that do not arrive first, then most changed values."""
    path, counts = item
    return -counts.rejected - counts.lossy, -counts.rejected, -counts.lossless, path


def _shares(counts: PropertyFidelity) -> list[Share]:
    numbers = (counts.as_is, counts.lossless, counts.lossy, counts.rejected, counts.held_back)
    return [Share(number, meaning.label, meaning.colour) for number, meaning in zip(numbers, _MEANINGS, strict=True)]


def _changes(counts: PropertyFidelity) -> Markup:
    numbers = {kind: getattr(counts, kind) for kind in _CHANGE_MEANINGS}
    changes = ", ".join(f"{number:,} {kind}" for kind, number in numbers.items() if number)
    return _CHANGES.format(changes) if changes else Markup()


def _counts_table(counts: Mapping[str, int], caption: str) -> Iterator[Markup]:
    """Yield a table of users per property, most users first, or nothing if *counts* is empty."""
    if not counts:
        return
    rows = [
        _COUNT.format(path=printable(path), count=count)
        for path, count in sorted(counts.items(), key=_most_users_first)[:MAX_PROPERTIES]
    ]
    yield _COUNTS.format(caption=caption, rows=_concat([*rows, *_more(len(counts), columns=2)]))


def _most_users_first(item: tuple[str, int]) -> tuple[int, str]:
    path, count = item
    return -count, path


def _more(count: int, *, columns: int) -> Iterator[Markup]:
    if count > MAX_PROPERTIES:
        yield _MORE.format(count=count - MAX_PROPERTIES, columns=columns)


def _bar(shares: Sequence[Share]) -> Markup:
    """Return *shares* as one bar with their numbers below it, without empty shares."""
    present = [share for share in shares if share.count]
    total = sum(share.count for share in present)
    pieces = [_PIECE.format(colour=share.colour, percent=100 * share.count / total) for share in present]
    label = ", ".join(f"{share.count:,} {share.label}" for share in present) or "no users"
    return _BAR.format(label=label, pieces=_concat(pieces), numbers=_numbers(present))


def _numbers(shares: Sequence[Share]) -> Markup:
    items = [
        _NUMBER.format(
            colour=share.colour,
            count=share.count,
            label=share.label,
            detail=f" ({share.detail})" if share.detail else "",
        )
        for share in shares
    ]
    return _NUMBERS.format(_concat(items)) if items else Markup()


def _legend(shares: Sequence[Share]) -> Markup:
    items = [_LEGEND_ITEM.format(colour=share.colour, label=share.label, detail=share.detail) for share in shares]
    return _LEGEND.format(_concat(items))


def _gauge(count: int, *, maximum: int, label: str) -> Markup:
    colour = "rejected" if count > maximum else "lossy" if count > 0.8 * maximum else "as-is"
    piece = _PIECE.format(colour=colour, percent=min(100.0, 100 * count / maximum))
    return _GAUGE.format(count=count, maximum=maximum, now=min(count, maximum), label=label, piece=piece)


def _concat(pieces: Iterable[Markup]) -> Markup:
    return Markup().join(pieces)
