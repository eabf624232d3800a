"""What README.md shows works as it stands."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


def test_the_python_of_the_readme_runs(capsys: pytest.CaptureFixture[str]) -> None:
    code = "\n".join(re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL))
    exec(compile(code, str(README), "exec"), {"__name__": "readme"})
    assert "You are in the middle of a room" in capsys.readouterr().out


def test_every_command_that_the_readme_shows_exists() -> None:
    from kintsugi.cli import COMMANDS

    shown = set(re.findall(r"^kintsugi (\w+)", README.read_text(), re.MULTILINE))
    assert shown <= COMMANDS.commands.keys()
    assert len(shown) >= 8
