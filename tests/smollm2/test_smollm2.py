"""SmolLM2-135M-Instruct: a pretrained model that nobody made for this package works with every loop and agent.

The numbers are as small as they can be. The tests check what holds for any model, not that this one succeeds.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from command_line import offer, run_command
from kintsugi.agents.judge import JudgeConfig, WebJudge
from kintsugi.agents.models import Message, Sampling, open_backend
from kintsugi.agents.models.local import LocalBackend
from kintsugi.agents.models.value import HEAD
from kintsugi.agents.models.weights import load_tokenizer
from kintsugi.agents.registry import agents
from kintsugi.envs import Task
from kintsugi.loops.measuring.evaluation import Score
from kintsugi.loops.registry import loops
from kintsugi.loops.runs.store import RunStore
from safetensors.torch import load_file

pytestmark = pytest.mark.requires("gguf", "smollm2")
MAX_TOKENS = 16
SMALL = (
    *("--loop.practice.tasks", 2, "--loop.attempts.k", 2, "--loop.attempts.at-once", 4),
    *("--loop.attempts.max-tokens", MAX_TOKENS, "--loop.attempts.max-steps", 2, "--loop.gate.tasks", 1),
    *("--loop.fit.steps", 1, "--loop.fit.batch-tokens", 512, "--loop.fit.lora.rank", 4),
    *("--held-out.tasks", 1, "--held-out.max-tokens", MAX_TOKENS, "--held-out.at-once", 1),
)
GUESS = ("--model", "smollm2", "--env", "guess_env:Guess")
LOOPS: dict[str, tuple[object, ...]] = {
    "self-training": (*GUESS, "--loop.practice.params", "kinds=won+lost"),
    "re-rest": (*GUESS, "--loop.practice.params", "kinds=won+drawn", "--loop.reflection.max-tokens", MAX_TOKENS),
    "agent-r": (
        *(*GUESS, "--loop.practice.params", "kinds=won+drawn", "--loop.alpha", 1.0),
        *("--loop.search.candidates", 3, "--loop.search.iterations", 2, "--loop.search.max-depth", 2),
        *("--loop.verifier.max-tokens", MAX_TOKENS, "--loop.max-unparsed", 1),
        # The test of recovery needs failed attempts of more than one step.
        *("--held-out.params", "kinds=lost", "--loop.recovery.steps", 1, "--loop.recovery.temperature", 1.0),
        *("loop.continue-search:uct", "--loop.continue-search.candidates", 2, "--loop.continue-search.iterations", 1),
    ),
    "rest-mcts": (
        *(*GUESS, "--loop.practice.params", "kinds=won+drawn", "--loop.rounds", 1, "--loop.min-value", 0),
        *("--loop.attempts.k", 1, "--loop.first-search.candidates", 2, "--loop.first-search.iterations", 1),
        *("--loop.search.candidates", 2, "--loop.search.iterations", 2),
        *("--loop.value.steps", 1, "--loop.value.batch-tokens", 512, "--loop.value.lora.rank", 4),
    ),
    "trading-group": (
        *("--model", "choosing:", "--loop.keep", 1, "--agent-args", "labels.horizon=1"),
        *("--loop.practice.params", "bars=5", "--held-out.params", "bars=2", "--loop.attempts.k", 1),
        *("--loop.practice.tasks", 1),
    ),
}
"""Model, environment and flags of every loop."""
ADAPTERS = {
    "self-training": {"self_training@1"},
    "re-rest": {"re_rest@1", "reflector@1"},
    "agent-r": {"agent_r@1"},
    "rest-mcts": {"value@0", "rest_mcts@1", "value@1"},
    "trading-group": {"trading_group@1"},
}
AGENTS = {"react": "household", "trading-group": "trading"}
"""An environment for every agent of the registry."""


@pytest.fixture(autouse=True)
def in_folder(smollm2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in the test's folder, with the cache that holds the converted model."""
    monkeypatch.setenv("KINTSUGI_CACHE", str(smollm2.parents[1]))
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def backend(smollm2: Path) -> LocalBackend:
    return LocalBackend(smollm2)


# -- The model --------------------------------------------------------------------------------------------------------


def test_the_converted_model_answers(smollm2, backend):
    chat = [Message("user", "What is the capital of France?")]
    completion = asyncio.run(backend.model(parallel=1).complete(chat, Sampling(0.0, MAX_TOKENS)))
    assert (completion.text, completion.finish) == ("The capital of France is Paris.", "stop")
    assert backend.model().window == 8192


def test_it_is_opened_by_its_short_name_and_found_in_the_cache(smollm2):
    found = open_backend("smollm2", lambda *_: pytest.fail("converted again"))
    assert found.weights == smollm2
    assert smollm2.name.startswith("SmolLM2-135M-Instruct.Q4_1-")


def test_template_and_tokenizer_are_those_of_the_model(smollm2):
    tokenizer = load_tokenizer(smollm2)
    chat = [{"role": "user", "content": "Hi"}]
    assert tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True) == (
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    )
    assert (tokenizer.eos_token, tokenizer.eos_token_id, len(tokenizer)) == ("<|im_end|>", 2, 49152)
    # The model saw each digit as a word of its own, and line ends before it as one.
    assert tokenizer.convert_ids_to_tokens(tokenizer("a\n\n12").input_ids) == ["a", "ĊĊ", "1", "2"]


# -- Agents -----------------------------------------------------------------------------------------------------------


def test_every_agent_and_loop_has_an_entry():
    assert {plugin.name for plugin in agents() if plugin.target.startswith("kintsugi.")} == set(AGENTS)
    assert {plugin.name for plugin in loops() if plugin.target.startswith("kintsugi.")} == set(LOOPS) == set(ADAPTERS)


@pytest.mark.parametrize(
    ("agent", "flags"),
    [
        ("react", ()),
        ("react", ("--decoding", "constrained", "--temperature", 1.0)),
        ("trading-group", ("--params", "bars=2")),
    ],
)
def test_every_agent_acts(agent, flags, smollm2, capsys):
    steps = ("--env-args", "max_steps=2") if agent == "react" else ()
    code, out, err = run_command(
        *(capsys, "eval", "--model", "smollm2", "--env", AGENTS[agent], "--agent", agent, *steps),
        *("--tasks", 1, "--max-tokens", MAX_TOKENS, "--at-once", 1, *flags),
    )
    assert (code, err) == (0, "")
    # The score is named after the agent, or after the model for ReAct.
    assert (agent if agent != "react" else "SmolLM2") in out
    check_run(Path("runs/eval"), scores=1)


def test_the_judge_votes_or_says_that_it_got_no_verdict(backend):
    """A judge with this model rarely answers in the required form. Here the form is all that it may say."""

    class Constrained:
        version, window = "smollm2", 8192

        async def complete(self, messages: Sequence[Message], sampling: Sampling):
            verdicts = ("SUCCESS", "NOT SUCCESS")
            return await model.complete(messages, Sampling(0.0, MAX_TOKENS, choices=verdicts))

    model = backend.model(parallel=1)
    task = Task("test/0", "tiny/Guess-v0", "test", 0, {"goal": "Find the capital of France."})
    score = WebJudge(Constrained(), JudgeConfig(votes=1))(task, [("Paris is the capital.", "answer Paris")], "Paris")
    assert score in (0.0, 1.0)
    assert model.usage().calls == 1


# -- Loops ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loop", LOOPS)
def test_every_loop_trains(loop, tmp_path, monkeypatch, capsys):
    offer(tmp_path / "site", "kintsugi.backends", {"choosing": "choosing_backend:open_choosing"})
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    code, out, err = run_command(capsys, "improve", loop, "--run", "run", *SMALL, *LOOPS[loop])
    assert (code, err) == (0, "")
    assert "Rounds and gate verdicts" in out
    stages = check_run(Path("run"), scores=1)
    assert {"eval", "gate", "verdict", "counts", "score"} <= stages
    if loop == "agent-r":
        assert {"cuts", "replay", "spliced"} <= stages
    assert {folder.name for folder in Path("run/adapters").iterdir()} == ADAPTERS[loop]
    for folder in Path("run/adapters").iterdir():
        weights = load_file(folder / "adapter_model.safetensors")
        assert all(bool(weight.isfinite().all()) for weight in weights.values())
        # B starts at zero, and so does the head of a value model: until it has moved, B has no gradient.
        changed = load_file(folder / HEAD) if (folder / HEAD).exists() else weights
        assert any(bool(weight.any()) for name, weight in changed.items() if "lora_A" not in name), folder
        assert json.loads((folder / "kintsugi.json").read_text())["result"]["steps"] == 1


def check_run(folder: Path, *, scores: int) -> set[str]:
    """Check the scores and attempts of a run with SmolLM2, and return the kinds of its stages."""
    with RunStore.read(folder) as store:
        results = store.results()
        found = [Score.from_json(result) for stage, result in results.items() if stage.kind == "score"]
        assert len(found) >= scores
        assert all(score.n and 0 <= score.success.value <= 1 for score in found)
        stages = store.trajectory_stages()
        for stage in stages:
            for attempt in store.trajectories(stage):
                assert attempt.outcome != "infra_error"
                sampled = [step for step in attempt.steps if step.token_ids is not None]
                assert all(len(step.token_ids) <= MAX_TOKENS for step in sampled)
        return {stage.kind for stage in (*stages, *results)}
