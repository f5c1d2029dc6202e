"""The built wheel, in an environment without development tools."""

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
PROGRAM = """
import replay_identity as ri
from replay_identity.adapters import Response
user = ri.UserTraits("u1", name="Ann", traits={"plan": "pro"})
bodies = {ri.Fullstory("key"): b'{"id": "7"}', ri.LogRocket("a:b:c"): b'{"userID": "u1", "traits": {}}'}
for backend, body in bodies.items():
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
    """Build the wheel, and return its path."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


def test_works_without_development_tools(wheel: Path, tmp_path: Path) -> None:
    """With only the wheel installed, the library identifies a user, and the command names the missing extra."""
    venv.create(tmp_path, with_pip=True)
    python = str(tmp_path / "bin" / "python")
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(wheel)]
    subprocess.run(install, check=True, capture_output=True, cwd=tmp_path)

    library = subprocess.run([python, "-c", PROGRAM], capture_output=True, cwd=tmp_path, check=False, text=True)
    command = subprocess.run(
        [str(tmp_path / "bin" / "replay-identity"), "limits"], capture_output=True, cwd=tmp_path, check=False, text=True
    )

    assert library.stdout == "works\n", library.stderr
    assert command.returncode == 2
    assert "replay-identity[cli]" in command.stderr


def test_wheel_contains_only_the_package(wheel: Path) -> None:
    """It contains py.typed and the data files, but no test or tool."""
    names = zipfile.ZipFile(wheel).namelist()

    assert {
        "replay_identity/py.typed",
        "replay_identity/migration/report.css",
        "replay_identity/mapping/presets/segment.toml",
    } <= set(names)
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"replay_identity"}
