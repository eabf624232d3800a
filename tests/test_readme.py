"""The examples in README.md and docs/ work."""

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
"""Names from the user's own package in docs/extending.md, which is not installed here."""


def commands(page: Path) -> list[str]:
    """Return the command lines of a page, in shell blocks and between backticks."""
    text = page.read_text()
    blocks = "\n".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL))
    inline = re.findall(r"`(kintsugi [^`]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    found = [*re.findall(r"^kintsugi .*", blocks, re.MULTILINE), *(" ".join(line.split()) for line in inline)]
    return [line for line in found if page == README or not PLACEHOLDERS.search(line)]


@pytest.mark.requires("sandbox")
def test_python_examples_of_the_readme_run(tmp_path: Path) -> None:
    script = tmp_path / "readme.py"
    script.write_text("\n".join(re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)))
    process = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    assert "You are in the middle of a room" in process.stdout


def test_comparison_example_of_the_extending_page_runs(tmp_path: Path) -> None:
    """Replace the seed policy, which takes minutes to build, by a scripted model."""
    (tmp_path / "turns.json").write_text(json.dumps(["Thought: hm\nAction: look"]))
    script = "".join(re.findall(r"```python\n(.*?)```", (ROOT / "docs/extending.md").read_text(), re.DOTALL))
    assert script.count("seed:household") == 1
    assert len(script.splitlines()) <= 10
    (tmp_path / "compared.py").write_text(script.replace("seed:household", "scripted:turns.json"))
    process = subprocess.run([sys.executable, "compared.py"], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    assert "free" in process.stdout
    assert "constrained" in process.stdout


@pytest.mark.parametrize("line", [line for page in PAGES for line in dict.fromkeys(commands(page))])
def test_every_documented_command_parses(line: str) -> None:
    arguments = shlex.split(line, comments=True)[1:]
    if arguments[-1] == "--help":
        assert _exit_code(arguments) == 0
        return
    _, config = parse(arguments)
    # Check the environment and its arguments, if the command has them.
    getattr(config, "env_spec", None)


def _exit_code(arguments: list[str]) -> object:
    try:
        return main(arguments)
    except SystemExit as exited:  # help and usage errors of tyro
        return exited.code


def test_every_page_is_reached_from_the_readme() -> None:
    found, new = set(), {README}
    while new:
        page = new.pop()
        found.add(page)
        links = re.findall(r"\]\(([^)#:]+\.md)", page.read_text())
        assert all((page.parent / link).is_file() for link in links), page
        new |= {(page.parent / link).resolve() for link in links} - found
    assert found == set(PAGES)


def test_the_readme_shows_most_commands() -> None:
    shown = {line.split()[1] for line in commands(README)}
    assert len(shown) >= 8
    assert shown <= COMMANDS.keys()
    assert sum(bool(commands(page)) for page in PAGES) >= 4
