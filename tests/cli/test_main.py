"""The command line: what it finds, what it says, how it exits, and that asking for help is quick."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from kintsugi import __version__, cli
from kintsugi.errors import InfraError, UsageError
from small_runs import make_run


def commands(group: cli.Group, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, found in group.commands.items():
        if isinstance(found, cli.Group):
            yield from commands(found, (*words, name))
        else:
            yield (*words, name)


def said(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    code = cli.main(argv)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run")


def test_help_names_every_command(capsys):
    code, out, _ = said(capsys, "--help")
    assert code == 0
    for name in ("demo", "seed", "improve", "eval", "compare", "envs", "play", "report", "export", "reproduce"):
        assert f"  {name} " in out
    assert said(capsys)[0] == 2
    assert "re-rest" in said(capsys, "improve", "--help")[1]


@pytest.mark.parametrize("words", list(commands(cli.COMMANDS)), ids=" ".join)
def test_every_command_explains_its_flags(words, capsys):
    with pytest.raises(SystemExit) as left:
        cli.main([*words, "--help"])
    assert left.value.code == 0
    assert f"kintsugi {' '.join(words)}" in capsys.readouterr().out


def test_help_is_quick_because_it_imports_nothing_heavy():
    code = (
        "import sys; from kintsugi.cli.main import main; main(['--help']); main(['envs']);"
        "print(sorted({'torch', 'transformers', 'scipy', 'plotly', 'peft', 'datasets'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_python_dash_m():
    done = subprocess.run([sys.executable, "-m", "kintsugi", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"kintsugi {__version__}\n"
    done = subprocess.run([sys.executable, "-m", "kintsugi", "plya"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "kintsugi: unknown command 'plya'; did you mean 'play'?\n"


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["improve", "re-rset"], "unknown loop 're-rset'; did you mean 're-rest'"),
        (["reproduce", "rerest"], "unknown paper 'rerest'; did you mean 're-rest'?"),
        (["play", "household", "--task", "999", "--split", "valid_seen"], "(200 in all)"),
        (["eval", "--tasks", "0"], "tasks is 0; at least 1 is needed"),
        (["eval", "--samples", "0"], "samples is 0; at least 1 is needed"),
        (["eval", "--max-tokens", "-5"], "max_tokens is -5; at least 1 is needed"),
        (["eval", "--temperature", "-1"], "temperature is -1.0; it is 0 (greedy) or above"),
        (["eval", "--splits"], "splits is empty; name at least one split"),
        (["improve", "re-rest", "--loop.practice.k", "0"], "k is 0; at least 1 is needed"),
        (["improve", "re-rest", "--loop.practice.at-once", "0"], "at_once is 0; at least 1 is needed"),
        (["play", "hosehold"], "unknown environment 'hosehold'; did you mean 'household'?"),
        (["report", "/nowhere"], "/nowhere holds no run.db; name the folder of a run"),
        (["compare", "/nowhere/a", "/nowhere/b"], "does not begin with the folder of a run"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(argv, expected, capsys):
    code, out, err = said(capsys, *argv)
    assert (code, out) == (2, "")
    assert expected in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("argv", [["compare"], ["play", "--no-such-flag"], ["export", "a", "b", "--kind", "poem"]])
def test_wrong_flags_exit_with_2(argv, capsys):
    with pytest.raises(SystemExit) as left:
        cli.main(argv)
    assert left.value.code == 2
    assert capsys.readouterr().err


@pytest.mark.parametrize(
    ("raised", "code", "expected"),
    [
        (UsageError("k is 0;\nask for more"), 2, "kintsugi: k is 0; ask for more\n"),
        (InfraError("the browser died"), 3, "kintsugi: something outside broke: the browser died\n"),
        (KeyboardInterrupt(), 130, "kintsugi: interrupted; what was stored is kept\n"),
    ],
)
def test_errors_have_codes(raised, code, expected, monkeypatch, capsys):
    def fail(*_: object) -> None:
        raise raised

    monkeypatch.setattr(cli, "_call", fail)
    assert said(capsys, "envs") == (code, "", expected)


def test_bugs_are_not_hidden(monkeypatch):
    monkeypatch.setattr(cli, "_call", lambda *_: [].pop())
    with pytest.raises(IndexError):
        cli.main(["envs"])


def test_envs(capsys):
    code, out, _ = said(capsys, "envs")
    assert code == 0
    assert "household" in out
    assert "kintsugi/Household-v0" in out


def test_a_warning_is_one_line(capsys, monkeypatch):
    def warn(*_: object) -> int:
        warnings.warn("two games were [left] out", stacklevel=1)
        return 0

    monkeypatch.setattr(cli, "_dispatch", warn)
    assert said(capsys, "envs") == (0, "", "kintsugi: warning: two games were [left] out\n")


def test_play_reads_what_is_no_text(capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"look\n\xff\xfe\n"), encoding="utf-8"))
    code, out, _ = said(capsys, "play", "household")
    assert code == 0
    assert "Left after 2 steps." in out


def test_play_reads_from_the_terminal(capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(":admissible\nlook\n"))
    code, out, _ = said(capsys, "play", "household", "--env-params", "size", "small")
    assert code == 0
    assert "go to" in out
    assert "Left after 1 steps." in out


def test_compare(run, capsys):
    code, out, _ = said(capsys, "compare", f"{run}/base/valid_seen", f"{run}/re-rest", "--by-type")
    assert code == 0
    for expected in ("+50.0", "25.0 %", "75.0 %", "sign-flip by task", "heat"):
        assert expected in out
    code, _, err = said(capsys, "compare", f"{run}/base/valid_seen", f"{run}/base/valid_unseen")
    assert code == 2
    assert "they share 0" in err


def test_report_and_export(run, tmp_path, capsys):
    code, out, _ = said(capsys, "report", str(run))
    assert (code, out) == (0, f"open {(run / 'report/index.html').as_uri()}\n")
    code, out, _ = said(capsys, "export", str(run), str(tmp_path / "sft.jsonl"))
    assert (code, out) == (0, f"6 lines in {tmp_path / 'sft.jsonl'}\n")
    assert len(list(map(json.loads, (tmp_path / "sft.jsonl").open()))) == 6
