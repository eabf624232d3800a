"""Texts equal TextWorld's. `transcripts.txt` is a recording of TextWorld 1.7 with ALFWorld 0.4.2."""

from pathlib import Path

import pytest
from kintsugi.envs.household.engine import Engine
from kintsugi.envs.household.goals import TASK_TYPES

SECTIONS = Path(__file__).with_name("transcripts.txt").read_text(encoding="utf-8").removeprefix("# ").split("\n# ")


def commands_of(section: str) -> list[str]:
    quoted = [line[3:-1] for line in section.splitlines() if line.startswith("> ")]
    return [text.replace("\\t", "\t") for text in quoted]


def play(engine: Engine, commands: list[str]) -> str:
    state = engine.initial_state()
    lines = [engine.intro(state), "[" + "; ".join(engine.admissible(state)) + "]"]
    for command in commands:
        result = engine.step(state, command)
        state, text = result or (state, "Nothing happens.")
        lines += [f"> {command!r}", text, "[" + "; ".join(engine.admissible(state)) + "]"]
        lines += ["won"] if engine.won(state) else []
    return "\n".join(lines)


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.split()[0])
def test_transcript_equals_textworlds(house, section):
    header, _, recorded = section.partition("\n")
    assert play(Engine(house(*header.split())), commands_of(recorded)) == recorded.rstrip("\n")


def test_transcripts_cover_all_types_and_win():
    assert {section.split()[0] for section in SECTIONS} == set(TASK_TYPES)
    assert all(section.rstrip().endswith("won") for section in SECTIONS)
