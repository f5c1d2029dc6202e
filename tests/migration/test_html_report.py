"""The HTML report of a migration, as text."""

import re
from html.parser import HTMLParser
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.migration_reports import ESTIMATE, SCRIPT, counted, report

from replay_identity.bulk import Estimate, SyncReport
from replay_identity.bulk.report import BackendReport
from replay_identity.bulk.stats import MAX_PATHS
from replay_identity.migration import ListingStats, MigrationReport
from replay_identity.migration.fidelity import PropertyFidelity
from replay_identity.migration.html_report import MAX_PROPERTIES, html_page
from replay_identity.outcomes import Unavailable


class PageParser(HTMLParser):
    """The text, tags and attributes of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.text: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Record a tag and its attributes."""
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        """Record a text."""
        self.text.append(data)


def parsed(page: str) -> PageParser:
    """Return the parsed page."""
    parser = PageParser()
    parser.feed(page)
    parser.close()
    return parser


def text(page: MigrationReport) -> str:
    """Return the text that a reader of *page* sees."""
    return re.sub(r"\s+", " ", " ".join(parsed(html_page(page)).text))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, "acme is up to date with 98,312 of 99,000 users, 100 still pending; 2 properties lose something."),
        ({"estimate": ESTIMATE}, "acme would get 98,412 of 99,000 users; 2 properties would lose something."),
        ({"run": SyncReport()}, "acme was sent nothing."),
    ],
)
def test_sums_up_a_backend_in_one_sentence(changes: dict[str, Any], sentence: str) -> None:
    """A dry run is judged by the limits, a real run by its counts."""
    assert sentence in text(report(**changes))


@pytest.mark.parametrize(
    ("lossy", "estimate", "words"),
    [
        (0, None, "no property loses anything"),
        (1, None, "1 property loses something"),
        (0, ESTIMATE, "no property would lose anything"),
        (1, ESTIMATE, "1 property would lose something"),
    ],
)
def test_counts_properties_with_losses(lossy: int, estimate: dict[str, Estimate] | None, words: str) -> None:
    """Rejected values do not arrive either."""
    lost = {"lossy": lossy}, {"rejected": lossy}
    for numbers in lost:
        fidelity = counted(properties={"traits.a": PropertyFidelity(users=1, as_is=1 - lossy, **numbers)})

        assert words in text(report(fidelity, estimate=estimate))


def test_uses_the_singular_for_one_user() -> None:
    """Nothing is pending."""
    run = SyncReport(backends=(BackendReport("acme", carried=1),))

    assert "acme is up to date with 0 of 1 user;" in text(report(run=run))


def test_distinguishes_a_dry_run() -> None:
    """The first line after the date says so."""
    assert "This is the report of a migration." in text(report())
    assert "This is the report of a dry run: nothing was sent" in text(report(estimate=ESTIMATE))


def test_leaves_out_error_texts() -> None:
    """They may quote a user; the page only says that something went wrong."""
    run = SyncReport(stopped="secret", backends=(BackendReport("acme", problem="secret"),))

    page = html_page(report(run=run, failure=Unavailable("old", "secret")))

    assert "secret" not in page
    assert "not all users were read" in page
    assert "Delivery to this backend was given up." in page


@pytest.mark.parametrize(
    ("estimate", "sentence"),
    [
        (Estimate(1200, 30, 7300.0), "at least 1,200 requests for 30 batches: about 2 hours at the quota."),
        (Estimate(12, 0, None), "at least 12 requests."),
        (Estimate(12, 0, 0.1), "at least 12 requests: about 1 s at the quota."),
        (Estimate(12, 0, 119.0), "about 119 s at the quota."),
        (Estimate(12, 0, 7199.0), "about 120 minutes at the quota."),
    ],
)
def test_shows_the_estimated_time(estimate: Estimate, sentence: str) -> None:
    """Unknown parts are left out."""
    assert sentence in text(report(estimate={"acme": estimate}))


def test_counts_the_listed_users() -> None:
    """Each kind of user has a count."""
    shown = text(report())

    assert "old listed 100,000 users." in shown
    assert "99,000 usable" in shown
    assert "700 anonymous (without an id" in shown
    assert "Properties that old has seen with several types" in shown


@pytest.mark.parametrize(("restarts", "times"), [(1, "once"), (2, "2 times")])
def test_reports_restarts(restarts: int, times: str) -> None:
    """It also counts users read by earlier runs."""
    shown = text(report(listing=ListingStats(users=3, usable=3, earlier=2, restarts=restarts)))

    assert f"started again from the first page {times}" in shown
    assert "3 users, 2 of them in earlier runs." in shown


@pytest.mark.parametrize(("rows", "words"), [(1, "old has 1 row."), (2000, "old has 2,000 rows.")])
def test_counts_the_rows_of_a_file(rows: int, words: str) -> None:
    """A file has no listing of users."""
    shown = text(report(listing=None, run=SyncReport(rows=rows, bad_row_count=1)))

    assert words in shown
    assert (f"{rows - 1:,} valid" in shown) == (rows > 1)
    assert "1 not valid" in shown


def test_fills_bars_in_proportion() -> None:
    """Each bar has a label for screen readers."""
    page = html_page(report(listing=ListingStats(users=8, usable=6, anonymous=2)))

    assert (
        'aria-label="6 usable, 2 anonymous"><span class="piece as-is" style="width:75.000%"></span>'
        '<span class="piece held-back" style="width:25.000%"></span>'
    ) in page


def test_shows_the_worst_property_first() -> None:
    """Losses come before changes, and changes before unchanged values."""
    page = html_page(report())

    found = re.findall(r'<th scope="row">(traits\.[^<]*)</th><td class="count">', page)

    assert found[:4] == [
        "traits.bio",
        "traits.&lt;script&gt;alert(1)&lt;/script&gt;",
        "traits.company.size",
        "traits.plan",
    ]


def test_shows_how_values_are_changed() -> None:
    """The end of the page explains the terms."""
    assert "Changes: 3 coerced, 412 truncated" in text(report())


def test_limits_the_number_of_properties() -> None:
    """It says how many are left out, if any."""
    for more in (0, 3):
        many = {f"traits.p{number}": PropertyFidelity(users=1, as_is=1) for number in range(MAX_PROPERTIES + more)}

        page = html_page(report(counted(properties=many, collisions={})))

        assert page.count('<th scope="row">traits.p') == MAX_PROPERTIES
        assert (f"… and {more} more" in page) == (more > 0)


def test_handles_a_run_without_properties() -> None:
    """It says so instead of an empty table."""
    assert "1 property 1" not in text(report(counted(properties={}, collisions={})))
    assert "No user had any properties." in text(report(counted(properties={}, collisions={})))


def test_shows_the_most_frequent_collision_first() -> None:
    """Without collisions there is no table."""
    page = html_page(report())

    assert page.index(">traits.b<") < page.index(">traits.size_int<")
    assert "another one" not in html_page(report(counted(collisions={})))


@pytest.mark.parametrize(
    ("names", "sentence", "level"),
    [
        (400, "400 of at most 500 names.", "as-is"),
        (500, "500 of at most 500 names.", "lossy"),
        (450, "450 of at most 500 names.", "lossy"),
        (501, "501 of at most 500 names. That is too many.", "rejected"),
        (MAX_PATHS, "at least 1,000 of at most 500 names. That is too many.", "rejected"),
    ],
)
def test_compares_the_names_with_the_limit(names: int, sentence: str, level: str) -> None:
    """The gauge warns before it is full, and is never more than full."""
    page = html_page(report(counted(sent_names={f"{number}" for number in range(names)})))

    width = min(100, names / 5)
    assert f"{sentence}</p>" in page
    assert f'aria-label="names of properties"><span class="piece {level}" style="width:{width:.3f}%">' in page


def test_shows_no_gauge_without_a_limit() -> None:
    """Not every vendor publishes one."""
    page = html_page(report(counted(max_unique_names=None)))

    assert "No limit is known." in page
    assert 'role="meter"' not in page


def test_shows_the_date_in_utc() -> None:
    """The date is that of the clock passed in."""
    assert "Report of 1970-01-02 (UTC)" in html_page(report(), clock=lambda: 86_400.0)


@given(st.text(), st.text())
def test_names_cannot_inject_markup(path: str, source: str) -> None:
    """The tags are the same for any names of properties and files."""
    harmless = report(counted(properties={"a": PropertyFidelity(users=1, lossy=1)}, collisions={"a": 1}))
    harmful = report(counted(properties={path: PropertyFidelity(users=1, lossy=1)}, collisions={path: 1}))

    page = html_page(attrs.evolve(harmful, source=source))

    assert parsed(page).tags == parsed(html_page(harmless)).tags
    assert page.encode()


@given(st.text(min_size=1, max_size=90).filter(str.isprintable))
def test_shows_names_unchanged(name: str) -> None:
    """Escaping loses no character of a source's or a property's name."""
    properties = {name: PropertyFidelity(users=1, lossy=1)}

    parser = parsed(html_page(attrs.evolve(report(counted(properties=properties)), source=name)))

    assert name in parser.text
    assert f"Migration from {name}" in parser.text


def test_loads_and_runs_nothing() -> None:
    """No script, no address, and a policy that would forbid both."""
    page = html_page(report())

    assert "script" not in parsed(page).tags
    assert not re.search(r"(?:src|href)=|url\(|@import|https?:", page)
    assert "default-src 'none'" in page
    assert SCRIPT not in page
