"""The HTML report of a migration, in a browser."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import cast

import orjson
import pytest
from support.migration_reports import ESTIMATE, report

from replay_identity.migration.html_report import html_page

CHROMIUM = next(
    filter(None, map(shutil.which, (os.environ.get("CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome"))),
    None,
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium: install it, or name it in $CHROMIUM"),
]

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
MEASURE = """<script>
const measured = {
  overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
  width: document.documentElement.clientWidth,
  pieces: [...document.querySelectorAll(".piece")].map(piece => piece.getBoundingClientRect().width),
  addresses: [...document.querySelectorAll("[src], [href]")].length,
};
document.body.setAttribute("data-measured", JSON.stringify(measured));
</script>"""


def dom(page: str, folder: Path, *, width: int = 1200) -> str:
    """Return the page as Chromium renders it."""
    path = folder / "page.html"
    path.write_text(page, encoding="utf-8")
    command = [
        *(str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}"),
        *(f"--window-size={width},1200", "--dump-dom", path.as_uri()),
    ]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


def measured(page: str) -> dict[str, object]:
    """Return the measurements of the script."""
    found = page.partition('data-measured="')[2].partition('"')[0]
    return dict(orjson.loads(found.replace("&quot;", '"')))


def test_renders_text_and_runs_no_script(tmp_path: Path) -> None:
    """A name like a script is text, and the policy stops injected scripts."""
    page = html_page(report(estimate=ESTIMATE)).replace("</body>", "<script>document.title = 'run'</script></body>")

    drawn = dom(page, tmp_path)

    assert "acme would get 98,412 of 99,000 users; 2 properties would lose something." in drawn
    assert "traits.&lt;script&gt;alert(1)&lt;/script&gt;" in drawn
    assert "<title>Migration from old</title>" in drawn


def test_fits_a_narrow_window(tmp_path: Path) -> None:
    """At 500 pixels nothing overflows, every piece of a bar has a width, and there is no address."""
    page = html_page(report()).replace(POLICY, "").replace("</body>", f"{MEASURE}</body>")

    found = measured(dom(page, tmp_path, width=500))

    assert found["overflow"] == 0
    assert found["addresses"] == 0
    assert isinstance(found["width"], int)
    assert found["width"] <= 500
    pieces = cast("list[float]", found["pieces"])
    assert len(pieces) > 10
    assert min(pieces) >= 1.9
