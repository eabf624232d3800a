"""Progress: the bar, the lines without a terminal, the remaining time, and what an interruption says."""

from __future__ import annotations

import io
import json
from itertools import pairwise

import pytest
from door_env import COLOURS
from fakes import scripted_run
from kintsugi.benchmarks.progress import Step, bar, elapsed_time_printer
from kintsugi.cli.improve import command
from kintsugi.loops.measuring.gate import Gate
from kintsugi.loops.measuring.measure import Measure, measure
from kintsugi.loops.run import Attempts, Practice
from kintsugi.loops.runs.store import RunStore
from kintsugi.loops.self_training import SelfTraining, self_training
from rich.console import Console

ANSWERS = [f"Thought: hm\nAction: open {colour}" for colour in COLOURS]
HELD_OUT = Measure(tasks=6)
LOOP = SelfTraining(Practice(tasks=10), Attempts(k=1, at_once=4), gate=Gate(tasks=4))
STAGES = [
    "eval/base/valid_unseen",
    "collect/policy@1/train",
    "train/self_training@1/-",
    "gate/base/valid_seen",
    "gate/self_training@1/valid_seen",
]
"""The stages in order, up to the gate's verdict."""


PLAN = (
    Step("seed policy 0: training", "training the base model: it acts", 100),
    Step("collect/policy@1/", "practice: what is solved is training data", 300),
    Step("train/re-rest@1/", "training Re-ReST: on what was solved", 100),
)


class Clock:
    """A monotonic clock that is set by hand."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def lines_of(console: Console) -> list[str]:
    return [line.strip() for line in written(console).splitlines() if line.strip()]


def terminal() -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=100)


def written(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_bar_names_the_stage_and_disappears():
    console = terminal()
    with bar(console) as on_status:
        on_status("collect/policy", 0.25)
        on_status("train/[red]x[/red]@1", 0.5)
    assert "train/[red]x[/red]@1" in written(console)
    assert "50%" in written(console)
    quiet = Console(file=io.StringIO())
    with bar(quiet) as on_status:
        on_status("collect/policy", 0.25)
    assert written(quiet) == ""


def test_all_stages_of_a_loop_report_progress(tmp_path):
    seen: list[tuple[str, float]] = []
    with RunStore.open(tmp_path / "run", {}) as store:
        store.on_status = lambda stage, share: seen.append((stage, share))
        run = scripted_run(store, "door_env:Doors", lambda messages, sampling: ANSWERS[sampling.seed % 4])
        measure(run, "base", None, HELD_OUT)
        self_training(run, LOOP)
    assert list(dict.fromkeys(stage for stage, _ in seen)) == STAGES
    for stage in STAGES:
        shares = [share for name, share in seen if name == stage]
        assert all(a <= b for a, b in pairwise(shares))
        assert shares[0] == 0
        assert shares[-1] == pytest.approx(1)
    collected = [share for name, share in seen if name == "collect/policy@1/train"]
    assert collected == pytest.approx([n / 10 for n in range(11)])


def test_the_command_shows_the_stages(tmp_path):
    script, console = tmp_path / "script.json", terminal()
    script.write_text(json.dumps({"": ANSWERS}))
    improve = command("self-training")
    config = improve.config(
        env="door_env:Doors", model=f"scripted:{script}", run=tmp_path / "run", held_out=HELD_OUT, loop=LOOP
    )
    improve(config, console)
    found = [written(console).find(stage) for stage in STAGES]
    assert -1 not in found
    assert found == sorted(found)


def test_each_step_says_what_happens_and_how_long_everything_still_takes():
    clock, console = Clock(), Console(file=io.StringIO(), width=60)
    with bar(console, PLAN, clock) as progress:
        progress("seed policy 0: training", 0.0)
        clock.now += 200  # This machine needs twice the seconds of the plan.
        progress("seed policy 0: training", 1.0)
        progress("collect/policy@1/train", 0.0)
        for _ in range(20):
            clock.now += 30
            progress("collect/policy@1/train", (clock.now - 1200) / 600)
        progress("train/re-rest@1/-", 0.0)
        clock.now += 170
        progress("train/re-rest@1/-", 0.85)
        progress("gate/other/valid", 0.5)  # Belongs to no step.
    found = lines_of(console)
    assert found[0] == "0:00  step 1 of 3: training the base model: it acts; about 8 min left"
    assert found[2] == "3:20  step 2 of 3: practice: what is solved is training data; about 12 min left"
    assert found[3] == "3:50  step 2 of 3: 5 %; about 12 min left"
    assert found[-2] == "13:20  step 3 of 3: training Re-ReST: on what was solved; about 3 min left"
    assert found[-1] == "16:10  step 3 of 3: 85 %; about 30 s left"
    assert len(found) == 4 + 20 + 1


def test_there_are_no_more_lines_than_one_in_thirty_seconds():
    clock, console = Clock(), Console(file=io.StringIO())
    with bar(console, PLAN, clock) as progress:
        for second in range(100):
            clock.now = 1000 + second
            progress("collect/policy@1/train", second / 100)
    assert [line.partition("  ")[0] for line in lines_of(console)] == ["0:00", "0:30", "1:00", "1:30"]


def test_finished_steps_take_no_time_in_the_estimate():
    """A resumed command skips two steps, and 90 % of the last one."""
    clock, console = Clock(), Console(file=io.StringIO())
    with bar(console, PLAN, clock) as progress:
        progress("train/re-rest@1/-", 0.9)
        assert progress.left() == "about 10 s left"
        clock.now += 5
        progress("train/re-rest@1/-", 0.95)
        assert progress.left() == "about 5 s left"


def test_the_remaining_time_falls_while_nothing_is_reported():
    clock = Clock()
    with bar(terminal(), PLAN, clock) as progress:
        progress("collect/policy@1/train", 0.0)
        assert progress.left() == "about 7 min left"
        clock.now += 180
        assert progress.left() == "about 4 min left"
        clock.now += 1000
        assert progress.left() == "about 5 s left"


def test_without_a_plan_each_stage_has_its_own_time():
    clock, console = Clock(), Console(file=io.StringIO())
    with bar(console, clock=clock) as progress:
        progress.say("measuring base")
        progress("eval/base", 0.0)
        assert progress.left() == ""
        clock.now += 40
        progress("eval/base", 0.25)
        progress("train/a@1", 0.0)
        clock.now += 100
        progress("train/a@1", 0.5)
    assert lines_of(console) == [
        "0:00  measuring base", "0:40  eval/base: 25 %; about 2 min left", "2:20  train/a@1: 50 %; about 2 min left",
    ]  # fmt: skip


def test_the_bar_shows_the_step_and_the_remaining_time():
    console = terminal()
    with bar(console, PLAN, Clock()) as progress:
        progress("collect/policy@1/train", 0.5)
    assert "step 2 of 3" in written(console)
    assert "50%" in written(console)
    assert "about 4 min left" in written(console)


@pytest.mark.parametrize(
    ("stage", "plan", "note"),
    [
        ("collect/policy@1/x", PLAN, "step 1 is kept, step 2 of 3 (practice) goes on after its last stored attempts"),
        ("train/re-rest@1/-", PLAN, "steps 1-2 are kept, step 3 of 3 (training Re-ReST) starts again"),
        ("seed policy 0: training", PLAN, "step 1 of 3 (training the base model) starts again"),
        ("train/re-rest@1/-", (), "train/re-rest@1/- starts again"),
        (None, PLAN, None),
    ],
)
def test_an_interruption_says_what_becomes_of_each_step(stage, plan, note):
    def interrupted() -> None:
        with bar(Console(file=io.StringIO()), plan) as progress:
            if stage:
                progress(stage, 0.5)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as raised:
        interrupted()
    assert getattr(raised.value, "__notes__", [None]) == [note]


def test_lines_have_the_elapsed_time():
    clock, console = Clock(), Console(file=io.StringIO())
    say = elapsed_time_printer(console, clock)
    clock.now += 61.9
    say("training [x]")
    assert written(console) == "  1:01  training [x]\n"
