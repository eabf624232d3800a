"""The code in an answer: Markdown fences by the rules of CommonMark, and code without a fence."""

from __future__ import annotations

import inspect
import re
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kintsugi.envs import fences
from kintsugi.envs.code import env, grader
from kintsugi.envs.code.env import CodeEnv, parse_action
from kintsugi.envs.code.family import make_task
from kintsugi.envs.fences import extract_code

F = "```"
DOCTEST = f'def add(a, b):\n    """Adds.\n\n    {F}\n    add(1, 2)\n    {F}\n    """\n    return a + b'


def fence_for(source: str, char: str = "`") -> str:
    """Return a fence that is longer than any in a source."""
    return char * max(3, 1 + max((len(run) for run in re.findall(f"{char}+", source)), default=0))


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (f"\n{F}python\n{DOCTEST}\n{F}", DOCTEST),
        (f"\n{F}python\n{DOCTEST}\n{F}\nIt adds:\n{F}\nadd(1, 2)\n{F}", DOCTEST),
        (f"{F}python\nx = 1\n{F}", "x = 1"),
        (f"\nThis isn't hard. Here is the code:\n\n{F} python title=x\nx = 1\n{F}  \nDone.", "x = 1"),
        (f"\n````\nx = '''\n{F}\n'''\n````", f"x = '''\n{F}\n'''"),
        (f"\n{F}\nx = 1\n`````", "x = 1"),
        ("\n~~~python\nx = 1\n~~~", "x = 1"),
        (f"\n~~~\nx = '''\n{F}\n'''\n~~~", f"x = '''\n{F}\n'''"),
        (f"\n{F}\nx = '''\n~~~\n'''\n{F}", "x = '''\n~~~\n'''"),
        (f"\n{F}python\nx = 1\ny = 2", "x = 1\ny = 2"),
        (f"\n{F}python\nx = 1{F}", "x = 1"),
        (f"\n{F}python\r\nx = 1\r\n{F}\r\n", "x = 1"),
        (f"\n  {F}python\n  if x:\n\n      y\n  {F}", "if x:\n\n    y"),
        (f"\n  {F}\n  x = 1\n{F}", "x = 1"),
        (f"\n{F}\nx = '''\n  {F}\n'''\n{F}", f"x = '''\n  {F}\n'''"),
        (f"\n1. Write this:\n\n    {F}python\n    x = 1\n    {F}\n2. Submit.", "x = 1"),
        (f"\n    Here it is:\n    {F}\n    x = 1\n    {F}\n    Done.", "x = 1"),
        (f"\n\t{F}\n\tif x:\n\t\ty\n\t{F}", "if x:\n\ty"),
        (f"\nA lone \ud800 surrogate.\n{F}\nx = 1\n{F}", "x = 1"),
        (f'\nThe string """ in prose:\n{F}\nx = """y"""\n{F}', 'x = """y"""'),
        (f"\n{F}\n{F}", ""),
        (f"\n{F}\n\n  x = 1  \n\n{F}", "\n  x = 1  \n"),
        (f"\n{F}\n  x = '\t'\n{F}", "  x = '\t'"),
    ],
)
def test_the_content_of_the_first_fence_is_the_code(answer, code):
    assert parse_action(f"write{answer if answer.startswith(chr(10)) else ' ' + answer}") == ("write", code)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (f"\n{DOCTEST}", DOCTEST),
        (DOCTEST, DOCTEST),
        (f'\n"""Module.\n\n{F}\nadd(1, 2)\n{F}\n"""\nx = 1', f'"""Module.\n\n{F}\nadd(1, 2)\n{F}\n"""\nx = 1'),
        (f"\n{DOCTEST}\n  )", f"{DOCTEST}\n  )"),
        (f"\nx = f'''\n{F}\n{{1}}\n{F}'''", f"x = f'''\n{F}\n{{1}}\n{F}'''"),
        (f"\n# See {F}this{F}\nx = 1", f"# See {F}this{F}\nx = 1"),
        (f"{F}x = 1{F}", f"{F}x = 1{F}"),
        ("\n\n    x = '\t'\n\n    y = 2\n\n", "x = '\t'\n\ny = 2"),
        ("\n\tif x:\n\t\ty = 2", "if x:\n\ty = 2"),
        (" x = 1  ", "x = 1"),
        ("", ""),
        ("\n  \n", ""),
    ],
)
def test_a_fence_inside_a_string_or_a_line_is_none(answer, code):
    assert parse_action(f"run {answer}" if not answer.startswith("\n") else f"run{answer}") == ("run", code)


lines = st.lists(
    st.text(st.sampled_from("`~ \t\r\f\x0b\x1c\u2028ab:'\"#\\"), max_size=9)
    | st.sampled_from(["```", "    ~~~", "'''"])
)


@given(lines.map("\n".join), st.sampled_from(("`", "~")), st.sampled_from(("", "python", " py ")))
def test_any_text_in_a_longer_fence_comes_back_unchanged(source, char, info):
    fence = fence_for(source, char)
    for before in ("\n", " ", "\n\n", "\nHere you are:\n\n", "\n# Solution\n"):
        assert parse_action(f"write{before}{fence}{info}\n{source}\n{fence}\nThat's it.\n{fence}\n{fence}")[1] == source


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (f"{F}python\nx = 1\n  {F}\nWords", "x = 1"),
        (f'{F}python\ndef f():\n  """\n  {F}\n  """\n{F}\nWords', f'def f():\n  """\n  {F}\n  """'),
        (f'Some """ prose\n{F}python\nx = 1\n{F}\nand """ more', "x = 1"),
        (f"Here: {F}python\nx = 1\n{F}\n", "x = 1"),
        (f"\ufeff{F}python\nx = 1\n{F}\n", "x = 1"),
        (f"\u200b{F}\nx = 1\n{F}", "x = 1"),
    ],
)
def test_fences_that_are_not_quite_right(answer, code):
    assert extract_code(answer) == code


@pytest.mark.parametrize("module", [env, fences, grader, inspect, re, textwrap])
def test_any_python_source_in_a_longer_fence_comes_back_unchanged(module):
    source = inspect.getsource(module) + f'\n"""\n{F}\n"""\n'
    fence = fence_for(source)
    assert parse_action(f"write\n{fence}python\n{source}\n{fence}") == ("write", source)
    indented = "".join(f"   {line}" for line in source.splitlines(keepends=True))
    assert parse_action(f"write\nCode:\n   {fence}python\n{indented}\n   {fence}") == ("write", source)
    assert parse_action(f"write\n{source}") == ("write", source.strip("\n"))


def test_an_answer_of_many_fences_is_read_in_one_pass():
    source = f'x = """\n{F}\n"""\n' * 20_000
    assert parse_action(f"write\n{source}") == ("write", source.rstrip())
    assert parse_action(f"write\n{F}\n{source}")[1] == 'x = """'


@pytest.mark.parametrize("action", ["write", f"write\n{F}\n{F}", f"write\n{F}\n  \n{F}", f"run\n{F}\n\n{F}"])
def test_an_action_without_code_is_refused(action):
    world = CodeEnv()
    world.reset(seed=0, options={"task": make_task("train", 0)})
    assert "there is no code after" in world.step(action)[4]["invalid"]
