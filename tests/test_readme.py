"""What README.md and the pages beside it show works as it stands."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from kintsugi.cli.main import COMMANDS, main, parse

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
PLACEHOLDERS = re.compile(r"my-loop|my-agent|opposites|kintsugi export$")
"""Of the page that says how such parts are written."""


def commands(page: Path) -> list[str]:
    """Command lines in shell blocks and between backticks."""
    text = page.read_text()
    blocks = "\n".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL))
    inline = re.findall(r"`(kintsugi [^`]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    found = [*re.findall(r"^kintsugi .*", blocks, re.MULTILINE), *(" ".join(line.split()) for line in inline)]
    return [line for line in found if page == README or not PLACEHOLDERS.search(line)]


@pytest.mark.requires("sandbox")
def test_the_python_of_the_readme_runs(tmp_path: Path) -> None:
    script = tmp_path / "readme.py"
    script.write_text("\n".join(re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)))
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "You are in the middle of a room" in done.stdout


def test_two_agents_are_compared_as_the_page_on_parts_says(tmp_path: Path) -> None:
    """Over a scripted model, for the seed policy takes minutes to make."""
    (tmp_path / "turns.json").write_text(json.dumps(["Thought: hm\nAction: look"]))
    script = "".join(re.findall(r"```python\n(.*?)```", (ROOT / "docs/extending.md").read_text(), re.DOTALL))
    assert script.count("seed:household") == 1
    assert len(script.splitlines()) <= 10
    (tmp_path / "compared.py").write_text(script.replace("seed:household", "scripted:turns.json"))
    done = subprocess.run([sys.executable, "compared.py"], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "free" in done.stdout
    assert "constrained" in done.stdout


@pytest.mark.parametrize("line", [line for page in PAGES for line in dict.fromkeys(commands(page))])
def test_every_command_that_is_shown_is_understood_with_its_flags(line: str) -> None:
    arguments = shlex.split(line, comments=True)[1:]
    if arguments[-1] == "--help":
        assert _exit_code(arguments) == 0
        return
    _, config = parse(arguments)
    # The environment and its arguments, where there is one, exist too.
    getattr(config, "env_spec", None)


def _exit_code(arguments: list[str]) -> object:
    try:
        return main(arguments)
    except SystemExit as exited:  # tyro's own help
        return exited.code


def test_the_readme_shows_most_commands_and_the_pages_are_read() -> None:
    shown = {line.split()[1] for line in commands(README)}
    assert len(shown) >= 8
    assert shown <= COMMANDS.keys()
    assert sum(bool(commands(page)) for page in PAGES) >= 4
