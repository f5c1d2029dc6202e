"""Code, tests and pages are written in plain English and the words of the glossary."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[1]
FOLDERS: Final = ("replay_identity", "adapters_contrib", "tests", "benchmarks", "docs")
SUFFIXES: Final = {".py", ".md", ".toml", ".css", ".html"}

# Words that send a reader to a dictionary, or back to the start of the sentence.
DIALECT: Final = {
    "whoever, whomever, whom": r"whoever|whomever|whom",
    "anew": r"anew",
    "mend": r"mend(s|ed|ing)?",
    "take note": r"(take|takes|taking|took|taken) note",
    "what became of": r"(became|becomes|become) of",
    "is no X": r"(?<!there )(is|are|was|were) no (?!longer|more)[a-z]+",
    "so many": r"so many",
    "in our words": r"in our words",
    "tell whether": r"tells? whether",
    "under way": r"under way",
    "for ever": r"for ever",
    "lest, heed": r"lest|heed(s|ed|ing)?",
    "had to give": r"had to give",
    "the vendor's words": r"vendor'?s'? words",
}
# This file has to quote the phrases.
EXCEPTIONS: Final = {Path(__file__).resolve()}


def files() -> Iterator[Path]:
    """Yield every tracked text file that people read."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],  # noqa: S607
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    for name in listed.stdout.split("\0"):
        path = ROOT / name
        in_folder = name.startswith(FOLDERS) or (name.endswith(".md") and "/" not in name)
        if in_folder and path.suffix in SUFFIXES and path.is_file() and path.resolve() not in EXCEPTIONS:
            yield path


@pytest.mark.parametrize("phrase", DIALECT)
def test_nothing_is_written_in_dialect(phrase: str) -> None:
    """No code, test or page uses the phrase."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    pattern = re.compile(rf"\b({DIALECT[phrase]})\b", re.IGNORECASE)

    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in files()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if pattern.search(line)
    ]

    assert not found
