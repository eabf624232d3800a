"""The command line: what it finds, what it says, how it exits, and that asking for help is quick."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from command_line import HEAVY, offer, refused, said, shell
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
    code, out, _ = said(capsys, "--help")
    assert code == 0
    for name in COMMANDS:
        assert f"  {name} " in out
    assert {"demo", "seed", "improve", "eval", "compare", "report", "export", "play", "envs"} <= COMMANDS.keys()
    assert said(capsys)[0] == 2
    assert "re-rest" in said(capsys, "improve", "--help")[1]


@pytest.mark.parametrize("words", list(commands(ROOT)), ids=" ".join)
def test_every_command_explains_its_flags(words, capsys):
    with pytest.raises(SystemExit) as left:
        main([*words, "--help"])
    assert left.value.code == 0
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
def test_help_and_mistakes_are_quick_because_they_import_nothing_heavy(words, code, tmp_path):
    found, out, err = shell(*words.split(), watched=(*HEAVY, "datasets", "plotly"), cwd=tmp_path)
    assert found == code
    assert out or err
    assert "imported: " not in err


def test_what_is_watched_is_seen(tmp_path):
    """The test above would fail."""
    code, _, err = shell("compare", make_run(tmp_path / "run"), "x", watched=("numpy", "torch"), cwd=tmp_path)
    assert (code, err.count("imported: "), "imported: numpy" in err) == (2, 1, True)


def test_every_paper_has_a_line_of_help_and_is_found():
    assert {words[1] for words in commands(ROOT) if words[0] == "reproduce"} == PAPERS.keys()
    for name in PAPERS:
        _, config = parse(["reproduce", name, "--seeds", "2"])
        assert (config.what.paper, config.what.seeds, config.run.name) == (name, 2, f"reproduce-{name}")


def test_python_dash_m():
    assert shell("--version") == (0, f"kintsugi {__version__}\n", "")
    assert shell("plya") == (2, "", "kintsugi: unknown command 'plya'; did you mean 'play'?\n")


def test_what_is_asked_for_can_be_read_without_being_done():
    function, config = parse(["eval", "--env", "web", "--tasks", "7"])
    assert (function.__module__, config.env, config.on.tasks) == ("kintsugi.cli.evaluate", "web", 7)
    _, config = parse(["improve", "self-training", "--loop.rounds", "2"])
    assert config.loop.rounds == 2
    with pytest.raises(UsageError, match="kintsugi improve names no loop; known: self-training, re-rest"):
        parse(["improve"])
    with pytest.raises(UsageError, match="unknown command 'evla'; did you mean 'eval'"):
        parse(["evla"])
    with pytest.raises(SystemExit):
        parse(["eval", "--taks", "7"])


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["improve", "re-rset"], "unknown loop 're-rset'; did you mean 're-rest'"),
        (["reproduce", "rerest"], "unknown paper 'rerest'; did you mean 're-rest'?"),
        (["seed", "hosehold"], "unknown seed family 'hosehold'; did you mean 'household'?"),
        (["play", "household", "--task", "999", "--split", "valid_seen"], "(200 in all)"),
        (["eval", "--tasks", "0"], "tasks is 0; at least 1 is needed"),
        (["eval", "--samples", "0"], "samples is 0; at least 1 is needed"),
        (["eval", "--max-tokens", "-5"], "max_tokens is -5; at least 1 is needed"),
        (["eval", "--temperature", "-1"], "temperature is -1.0; it is 0 (greedy) or above"),
        (["eval", "--splits"], "splits is empty; name at least one split"),
        (["improve", "re-rest", "--loop.attempts.k", "0"], "k is 0; at least 1 is needed"),
        (["improve", "re-rest", "--loop.attempts.at-once", "0"], "at_once is 0; at least 1 is needed"),
        (["play", "hosehold"], "unknown environment 'hosehold'; did you mean 'household'?"),
        (["report", "/nowhere"], "/nowhere holds no run.db; name the folder of a run"),
        (["compare", "/nowhere/a", "/nowhere/b"], "does not begin with the folder of a run"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(argv, expected, capsys):
    assert expected in refused(capsys, *argv)


@pytest.mark.parametrize("argv", [["compare"], ["play", "--no-such-flag"], ["export", "a", "b", "--kind", "poem"]])
def test_wrong_flags_exit_with_2(argv, capsys):
    with pytest.raises(SystemExit) as left:
        main(argv)
    assert left.value.code == 2
    assert capsys.readouterr().err


@pytest.mark.parametrize(
    ("trouble", "code", "expected"),
    [
        ("usage", 2, "kintsugi: k is 0; ask for more\n"),
        ("infra", 3, "kintsugi: something outside broke: the browser died\n"),
        ("interrupt", 130, "kintsugi: interrupted; what was stored is kept\n"),
    ],
)
def test_errors_have_codes(trouble, code, expected, capsys):
    assert said(capsys, "play", "faulty_envs:Troubled", "--params", f"trouble={trouble}") == (code, "", expected)


def test_bugs_are_not_hidden():
    with pytest.raises(IndexError):
        main(["play", "faulty_envs:Troubled", "--params", "trouble=bug"])


def test_envs(capsys):
    code, out, _ = said(capsys, "envs")
    assert code == 0
    assert "household" in out
    assert "kintsugi/Household-v0" in out


def test_a_warning_is_one_line():
    code, out, err = shell("play", "faulty_envs:Troubled", "--params", "trouble=warning")
    assert (code, err) == (0, "kintsugi: warning: two games were [left] out\n")
    assert "Left after 0 steps." in out


def test_play_reads_what_is_no_text():
    code, out, err = shell("play", "household", stdin=b"look\n\xff\xfe\n")
    assert (code, err) == (0, "")
    assert "Left after 2 steps." in out


def test_play_reads_from_the_terminal():
    code, out, _ = shell("play", "household", "--params", "size=small", stdin=":admissible\nlook\n")
    assert code == 0
    assert "go to" in out
    assert "Left after 1 steps." in out


def test_compare(run, capsys):
    code, out, _ = said(capsys, "compare", f"{run}/base/valid_seen", f"{run}/re-rest", "--by-type")
    assert code == 0
    for expected in ("+50.0", "25.0 %", "75.0 %", "sign-flip by task", "heat"):
        assert expected in out
    assert "they share 0" in refused(capsys, "compare", f"{run}/base/valid_seen", f"{run}/base/valid_unseen")


def test_report_and_export(run, tmp_path, capsys):
    code, out, _ = said(capsys, "report", run)
    assert (code, out) == (0, f"open {(run / 'report/index.html').as_uri()}\n")
    code, out, _ = said(capsys, "export", run, tmp_path / "sft.jsonl")
    assert (code, out) == (0, f"6 lines in {tmp_path / 'sft.jsonl'}\n")
    assert len(list(map(json.loads, (tmp_path / "sft.jsonl").open()))) == 6


# -- Libraries that are not installed ---------------------------------------------------------------------------------


def test_play_needs_no_optional_library(tmp_path):
    optional = (*HEAVY, "safetensors", "tokenizers", "filelock", "jinja2", "pyarrow", "playwright", "tomli_w")
    code, out, err = shell("play", "household", stdin=":admissible\nlook\n", without=optional, cwd=tmp_path)
    assert (code, err) == (0, "")
    assert "Left after 1 steps." in out


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
    code, out, err = shell(*argv, without=[library], cwd=tmp_path, sites=[doors_site], environment=environment)
    assert err == (f"kintsugi: '{library}' is not installed; it comes with an extra: pip install 'kintsugi[{extra}]'\n")
    assert (code, out.strip()) == (2, "")
    assert not list((tmp_path / "RUN").glob("*report*"))


# -- Parts of other packages ------------------------------------------------------------------------------------------


def test_a_loop_that_cannot_be_imported_is_said_and_the_rest_works(tmp_path, monkeypatch, capsys):
    offer(tmp_path, "kintsugi.loops", {"broken": "nowhere.at_all:LOOP", "number": "math:pi"})
    monkeypatch.syspath_prepend(str(tmp_path))
    code, out, err = said(capsys, "improve", "--help")
    assert (code, err) == (0, "")
    assert "broken" in out
    assert "from foreign" in out
    wrong = refused(capsys, "improve", "broken")
    assert "'broken' (from foreign): cannot import 'nowhere.at_all:LOOP' (ModuleNotFoundError" in wrong
    assert "loop 'number' (from foreign): 'math:pi' is 3.14" in refused(capsys, "improve", "number")
    assert parse(["improve", "re-rest"])[1].loop.rounds == 1


def test_a_name_that_is_taken_is_said_and_the_rest_works(tmp_path):
    offer(tmp_path, "kintsugi.loops", {"re-rest": "thief:LOOP", "mine": "thief:LOOP"})
    code, out, err = shell("improve", "--help", sites=[tmp_path])
    assert (code, err.count("\n")) == (0, 1)
    assert "kintsugi: warning: kintsugi.loops: the name 're-rest' from foreign is left out: it is taken" in err
    assert "(Re-ReST)" in out
    assert "mine" in out
    code, out, err = shell("improve", "re-rest", "--help", sites=[tmp_path])
    assert (code, err.count("\n"), "--loop.reflector" in out) == (0, 1, True)
