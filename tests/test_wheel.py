"""What users install: the built wheel, in an environment without our development tools."""

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
USE = """
import replay_identity as ri
from replay_identity.adapters.exchange import Response
user = ri.UserTraits("u1", name="Ann", traits={"plan": "pro"})
answers = {ri.Fullstory("key"): b'{"id": "7"}', ri.LogRocket("a:b:c"): b'{"userID": "u1", "traits": {}}'}
for backend, body in answers.items():
    exchange = backend.identify(user)
    next(exchange)
    try:
        exchange.send(Response(200, body=body))
    except StopIteration as stop:
        assert isinstance(stop.value, ri.Accepted), stop.value
with ri.Router([ri.LogRocket("a:b:c", base_url="http://127.0.0.1:9")], retry=ri.RetryPolicy(attempts=1)) as router:
    assert isinstance(router.identify(user)["logrocket"], ri.Unavailable)
print("works")
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel once."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


def test_works_without_development_tools(wheel: Path, tmp_path: Path) -> None:
    """A clean environment with the wheel alone can identify a user."""
    venv.create(tmp_path, with_pip=True)
    python = str(tmp_path / "bin" / "python")
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(wheel)]
    subprocess.run(install, check=True, capture_output=True, cwd=tmp_path)

    used = subprocess.run([python, "-c", USE], capture_output=True, cwd=tmp_path, check=False, text=True)
    bare = subprocess.run(
        [str(tmp_path / "bin" / "replay-identity"), "limits"], capture_output=True, cwd=tmp_path, check=False, text=True
    )

    assert used.stdout == "works\n", used.stderr
    assert bare.returncode == 2
    assert "replay-identity[cli]" in bare.stderr


def test_holds_the_package_and_nothing_else(wheel: Path) -> None:
    """Types are marked as such, and no test or tool is shipped."""
    names = zipfile.ZipFile(wheel).namelist()

    assert {"replay_identity/py.typed", "replay_identity/migration/report.css"} <= set(names)
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"replay_identity"}
