"""What README.md shows works as it stands."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


@pytest.mark.requires("sandbox")
def test_the_python_of_the_readme_runs(tmp_path: Path) -> None:
    script = tmp_path / "readme.py"
    script.write_text("\n".join(re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)))
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "You are in the middle of a room" in done.stdout


def test_every_command_that_the_readme_shows_exists() -> None:
    from kintsugi.cli.main import COMMANDS

    shown = set(re.findall(r"^kintsugi (\w+)", README.read_text(), re.MULTILINE))
    assert shown <= COMMANDS.commands.keys()
    assert len(shown) >= 8
