"""The command line: subcommands, help texts, messages, exit codes and fast start."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator

import pytest
from command_line import HEAVY, offer, refused, run_command, run_in_subprocess
from kintsugi import __version__
from kintsugi.cli import main
from kintsugi.cli.main import COMMANDS, ROOT, Group, parse
from kintsugi.cli.reproduce import PAPERS
from kintsugi.errors import UsageError
from small_runs import make_run


def commands(group: Group, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, found in group.commands().items():
        if isinstance(found, Group):
            yield from commands(found, (*words, name))
        else:
            yield (*words, name)


def test_help_names_every_command(capsys):
    code, out, _ = run_command(capsys, "--help")
    assert code == 0
    for name in COMMANDS:
        assert f"  {name} " in out
    assert {"demo", "seed", "improve", "eval", "compare", "report", "export", "play", "envs"} <= COMMANDS.keys()
    assert run_command(capsys)[0] == 2
    assert "re-rest" in run_command(capsys, "improve", "--help")[1]


@pytest.mark.parametrize("words", list(commands(ROOT)), ids=" ".join)
def test_every_command_explains_its_flags(words, capsys):
    with pytest.raises(SystemExit) as exit_info:
        main([*words, "--help"])
    assert exit_info.value.code == 0
    assert f"kintsugi {' '.join(words)}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("--help", 0),
        ("envs", 0),
        ("eval --help", 0),
        ("improve", 2),
        ("improve re-rest --help", 0),
        ("reproduce agent-r --help", 0),
        ("eval --bogus", 2),
        ("improve re-rest --loop.rouns 2", 2),
    ],
)
def test_help_and_usage_errors_import_no_heavy_library(words, code, tmp_path):
    found, out, err = run_in_subprocess(*words.split(), watched=(*HEAVY, "datasets", "plotly"), cwd=tmp_path)
    assert found == code
    assert out or err
    assert "imported: " not in err


def test_watched_imports_are_reported(tmp_path):
    """The test above can fail: heavy imports of a subprocess are reported."""
    code, _, err = run_in_subprocess(
        "compare", make_run(tmp_path / "run"), "x", watched=("numpy", "torch"), cwd=tmp_path
    )
    assert (code, err.count("imported: "), "imported: numpy" in err) == (2, 1, True)


def test_every_paper_has_a_command():
    assert {words[1] for words in commands(ROOT) if words[0] == "reproduce"} == PAPERS.keys()
    for name in PAPERS:
        _, config = parse(["reproduce", name, "--seeds", "2"])
        assert (config.comparison.paper, config.comparison.seeds, config.run.name) == (name, 2, f"reproduce-{name}")


def test_python_dash_m():
    assert run_in_subprocess("--version") == (0, f"kintsugi {__version__}\n", "")
    assert run_in_subprocess("plya") == (2, "", "kintsugi: unknown command 'plya'; did you mean 'play'?\n")


def test_parse_returns_the_configuration_without_running():
    function, config = parse(["eval", "--env", "web", "--tasks", "7"])
    assert (function.__module__, config.env, config.held_out.tasks) == ("kintsugi.cli.evaluate", "web", 7)
    _, config = parse(["improve", "self-training", "--loop.rounds", "2"])
    assert config.loop.rounds == 2
    with pytest.raises(
        UsageError, match="kintsugi improve: the loop is missing; expected one of self-training, re-rest"
    ):
        parse(["improve"])
    with pytest.raises(UsageError, match="unknown command 'evla'; did you mean 'eval'"):
        parse(["evla"])
    with pytest.raises(SystemExit):
        parse(["eval", "--taks", "7"])


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["improve", "re-rset"], "unknown loop 're-rset'; did you mean 're-rest'"),
        (["reproduce", "rerest"], "unknown paper 'rerest'; did you mean 're-rest' or 'rest-mcts'?"),
        (["seed", "hosehold"], "unknown seed family 'hosehold'; did you mean 'household'?"),
        (["play", "household", "--task", "999", "--split", "valid_seen"], "(200 in all)"),
        (["eval", "--tasks", "0"], "tasks is 0; expected at least 1"),
        (["eval", "--samples", "0"], "samples is 0; expected at least 1"),
        (["eval", "--max-tokens", "-5"], "max_tokens is -5; expected at least 1"),
        (["eval", "--temperature", "-1"], "temperature is -1.0; expected 0 (greedy) or a positive number"),
        (["eval", "--splits"], "splits is empty; expected at least one split"),
        (["improve", "re-rest", "--loop.attempts.k", "0"], "k is 0; expected at least 1"),
        (["improve", "re-rest", "--loop.attempts.at-once", "0"], "at_once is 0; expected at least 1"),
        (["play", "hosehold"], "unknown environment 'hosehold'; did you mean 'household'?"),
        (["report", "/nowhere"], "/nowhere holds no run.db; name the folder of a run"),
        (["compare", "/nowhere/a", "/nowhere/b"], "is not in the folder of a run"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(argv, expected, capsys):
    assert expected in refused(capsys, *argv)


@pytest.mark.parametrize("argv", [["compare"], ["play", "--no-such-flag"], ["export", "a", "b", "--kind", "poem"]])
def test_wrong_flags_exit_with_2(argv, capsys):
    with pytest.raises(SystemExit) as exit_info:
        main(argv)
    assert exit_info.value.code == 2
    assert capsys.readouterr().err


@pytest.mark.parametrize(
    ("trouble", "code", "expected"),
    [
        ("usage", 2, "kintsugi: k is 0; ask for more\n"),
        ("infra", 3, "kintsugi: infrastructure failure: the browser died\n"),
        ("interrupt", 130, "kintsugi: interrupted; stored results are kept\n"),
    ],
)
def test_errors_have_exit_codes(trouble, code, expected, capsys):
    assert run_command(capsys, "play", "faulty_envs:Troubled", "--params", f"trouble={trouble}") == (code, "", expected)


def test_termination_is_one_line_like_an_interruption(capsys):
    before = signal.getsignal(signal.SIGTERM)
    argv = ("play", "faulty_envs:Troubled", "--params", "trouble=terminate")
    assert run_command(capsys, *argv) == (143, "", "kintsugi: terminated; stored results are kept\n")
    assert signal.getsignal(signal.SIGTERM) is before


def test_bugs_are_not_hidden():
    with pytest.raises(IndexError):
        main(["play", "faulty_envs:Troubled", "--params", "trouble=bug"])


def test_envs(capsys):
    code, out, _ = run_command(capsys, "envs")
    assert code == 0
    assert "household" in out
    assert "kintsugi/Household-v0" in out


def test_a_warning_is_printed_in_one_line():
    code, out, err = run_in_subprocess("play", "faulty_envs:Troubled", "--params", "trouble=warning")
    assert (code, err) == (0, "kintsugi: warning: two games were [left] out\n")
    assert "Quit after 0 steps." in out


def test_play_accepts_undecodable_input():
    code, out, err = run_in_subprocess("play", "household", stdin=b"look\n\xff\xfe\n")
    assert (code, err) == (0, "")
    assert "Quit after 2 steps." in out


def test_play_reads_standard_input():
    code, out, _ = run_in_subprocess("play", "household", "--params", "size=small", stdin=":admissible\nlook\n")
    assert code == 0
    assert "go to" in out
    assert "Quit after 1 step." in out


def test_compare(run, capsys):
    code, out, _ = run_command(capsys, "compare", f"{run}/base/valid_seen", f"{run}/re-rest", "--by-type")
    assert code == 0
    for expected in ("+50.0", "25.0 %", "75.0 %", "sign-flip by task", "heat"):
        assert expected in out
    assert "which share 0" in refused(capsys, "compare", f"{run}/base/valid_seen", f"{run}/base/valid_unseen")


def test_report_and_export(run, tmp_path, capsys):
    code, out, _ = run_command(capsys, "report", run)
    assert (code, out) == (0, f"open {(run / 'report/index.html').as_uri()}\n")
    code, out, _ = run_command(capsys, "export", run, tmp_path / "sft.jsonl")
    assert (code, out) == (0, f"6 lines in {tmp_path / 'sft.jsonl'}\n")
    assert len(list(map(json.loads, (tmp_path / "sft.jsonl").open()))) == 6


# -- Missing libraries ------------------------------------------------------------------------------------------------


def test_play_needs_no_optional_library(tmp_path):
    optional = (*HEAVY, "safetensors", "tokenizers", "filelock", "jinja2", "pyarrow", "playwright", "tomli_w")
    code, out, err = run_in_subprocess("play", "household", stdin=":admissible\nlook\n", without=optional, cwd=tmp_path)
    assert (code, err) == (0, "")
    assert "Quit after 1 step." in out


@pytest.mark.parametrize(
    ("library", "extra", "words"),
    [
        ("torch", "models", "eval --tasks 2 --model MODEL"),
        ("transformers", "models", "eval --tasks 2 --model MODEL"),
        ("torch", "models", "seed doors"),
        ("scipy", "runs", "compare RUN/base/valid_seen RUN/re-rest"),
        ("filelock", "runs", "eval --tasks 2 --model scripted:SCRIPT"),
        ("jinja2", "report", "report RUN"),
        ("plotly", "report", "report RUN"),
    ],
)
def test_a_missing_library_names_its_extra(library, extra, words, tmp_path, tiny_model, doors_site):
    make_run(tmp_path / "RUN")
    (tmp_path / "SCRIPT").write_text('["Thought: hm\\nAction: look"]')
    argv = [str(tiny_model) if word == "MODEL" else word for word in words.split()]
    environment = {"KINTSUGI_CACHE": str(tmp_path / "cache")}
    code, out, err = run_in_subprocess(
        *argv, without=[library], cwd=tmp_path, sites=[doors_site], environment=environment
    )
    assert err == (f"kintsugi: '{library}' is not installed; it comes with an extra: pip install 'kintsugi[{extra}]'\n")
    assert (code, out.strip()) == (2, "")
    assert not list((tmp_path / "RUN").glob("*report*"))


# -- Loops of other packages ------------------------------------------------------------------------------------------


def test_a_broken_loop_is_reported_and_the_others_work(tmp_path, monkeypatch, capsys):
    offer(tmp_path, "kintsugi.loops", {"broken": "nowhere.at_all:LOOP", "number": "math:pi"})
    monkeypatch.syspath_prepend(str(tmp_path))
    code, out, err = run_command(capsys, "improve", "--help")
    assert (code, err) == (0, "")
    assert "broken" in out
    assert "from foreign" in out
    wrong = refused(capsys, "improve", "broken")
    assert "'broken' (from foreign): cannot import 'nowhere.at_all:LOOP' (ModuleNotFoundError" in wrong
    assert "loop 'number' (from foreign): 'math:pi' is 3.14" in refused(capsys, "improve", "number")
    assert parse(["improve", "re-rest"])[1].loop.rounds == 1


def test_a_duplicate_name_is_reported_and_the_others_work(tmp_path):
    offer(tmp_path, "kintsugi.loops", {"re-rest": "thief:LOOP", "mine": "thief:LOOP"})
    code, out, err = run_in_subprocess("improve", "--help", sites=[tmp_path])
    assert (code, err.count("\n")) == (0, 1)
    assert "kintsugi: warning: kintsugi.loops: the entry point 're-rest' from foreign is skipped" in err
    assert "(Re-ReST)" in out
    assert "mine" in out
    code, out, err = run_in_subprocess("improve", "re-rest", "--help", sites=[tmp_path])
    assert (code, err.count("\n"), "--loop.reflector" in out) == (0, 1, True)
