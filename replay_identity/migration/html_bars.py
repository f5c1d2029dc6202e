"""Counts as bars: what a bar shows stands beside it in words, for whom colours say nothing."""

from collections.abc import Sequence

import attrs

from .html_markup import Markup, element, joined


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
