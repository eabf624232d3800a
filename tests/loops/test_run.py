"""`Run`, `Practice` and `Attempts`: defaults, agents, jobs, players, scopes and training."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from door_env import COLOURS
from fakes import attempts_at, backend_of, learner_of, scripted_run
from kintsugi.agents.models import Message
from kintsugi.agents.react import ReActAgent
from kintsugi.agents.trajectory import AgentSpec
from kintsugi.envs import AgentEnv, EnvSpec
from kintsugi.envs.code.env import PUBLISHED_TURN_TOKENS
from kintsugi.envs.web.sites.catalogue import SITES
from kintsugi.errors import UsageError
from kintsugi.loops.learning.core import Example, FitConfig
from kintsugi.loops.measuring.gate import Gate
from kintsugi.loops.measuring.measure import Measure
from kintsugi.loops.registry import LoopConfig
from kintsugi.loops.run import Attempts, LocalPlayer, Practice, Run, job, resolved
from kintsugi.loops.runs.stages import Stage
from kintsugi.loops.runs.store import RunStore
from kintsugi.loops.seeds.registry import defaults_of
from loop_seeds import install

DOORS = EnvSpec("door_env:Doors")
STAGE = Stage("collect", "policy", "train", 1)
EXAMPLES = [Example([Message("user", "which?"), Message("assistant", "red")])]


def guess(messages: Any, sampling: Any) -> str:
    return f"Thought: hm\nAction: open {COLOURS[sampling.seed % 4]}"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RunStore]:
    with RunStore.open(tmp_path / "run", {}) as store:
        yield store


@pytest.fixture
def run(store: RunStore) -> Run:
    """A run whose base model opens random doors."""
    return scripted_run(store, DOORS.id, guess)


# -- Practice tasks ---------------------------------------------------------------------------------------------------


def test_a_seed_family_sets_the_defaults_of_its_environment(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(install(tmp_path, "gatehouse", doors="loop_seeds:SMALL_FAMILY")))
    assert defaults_of(DOORS).practice == len(Practice().task_set(DOORS, 0)) == 7
    assert len(Practice(tasks=3).task_set(DOORS, 0)) == 3
    assert resolved(FitConfig(), DOORS).epochs == 2.5
    assert defaults_of(EnvSpec("code")).practice > 300


def test_an_environment_without_a_seed_family_has_general_defaults():
    assert len(Practice().task_set(DOORS, 0)) == 300
    assert (defaults_of(DOORS).epochs, defaults_of(DOORS).rename) == (3.0, None)
    sparse = EnvSpec("loop_envs:Sparse")
    for name in ("turn_tokens", "at_once", "gate_split"):
        assert sparse.metadata_value(name) == AgentEnv.metadata[name]
    assert Attempts().resolved(sparse) == Attempts(max_tokens=32, at_once=128)


def test_practice_tasks_depend_on_seed_split_and_parameters():
    practice = Practice(tasks=5)
    assert practice.task_set(DOORS, 0) == practice.task_set(DOORS, 0) != practice.task_set(DOORS, 1)
    assert {task.split for task in replace(practice, split="valid_seen").task_set(DOORS, 0)} == {"valid_seen"}
    household = EnvSpec("household")
    small, medium = (Practice(tasks=3, params={"size": size}).task_set(household, 0) for size in ("small", "medium"))
    assert small != medium


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: Practice(tasks=0).task_set(DOORS, 0), "tasks is 0; expected at least 1"),
        (lambda: Practice().task_set(EnvSpec("househld"), 0), "unknown environment 'househld'; did you mean 'househ"),
        (lambda: Attempts(k=0), "k is 0; expected at least 1"),
        (lambda: Attempts(at_once=0), "at_once is 0"),
        (lambda: Attempts(max_tokens=-1), "max_tokens is -1"),
        (lambda: Attempts(temperature=-0.1), "temperature is -0.1; expected 0"),
        (lambda: Attempts(temperature=math.inf), "temperature is inf"),
        (lambda: Attempts(temperature=math.nan), "temperature is nan"),
    ],
)
def test_invalid_settings_are_refused(make, expected):
    with pytest.raises(UsageError, match=expected):
        make()


@pytest.mark.parametrize("source", ["humaneval", "mbpp"])
def test_published_code_tasks_have_room_for_longer_answers(source):
    code, params = EnvSpec("code"), {"source": source, "path": "tasks.jsonl"}
    shorter = resolved(LoopConfig(), code).attempts.max_tokens
    assert shorter == code.metadata_value("turn_tokens") == resolved(Measure(), code).max_tokens
    longer = resolved(LoopConfig(Practice(tasks=2, params=params)), code).attempts.max_tokens
    assert longer == resolved(Measure(params=params), code).max_tokens == PUBLISHED_TURN_TOKENS
    assert PUBLISHED_TURN_TOKENS > 4 * (shorter or 0) > 0
    assert resolved(LoopConfig(Practice(tasks=2, params=params), Attempts(max_tokens=9)), code).attempts.max_tokens == 9


def test_resolved_configurations_have_no_open_defaults():
    found = resolved(LoopConfig(), EnvSpec("household"))
    assert found.practice.tasks == defaults_of(EnvSpec("household")).practice
    assert found.fit.epochs == defaults_of(EnvSpec("household")).epochs
    assert found.attempts.max_tokens == EnvSpec("household").metadata_value("turn_tokens")
    assert found.attempts.at_once == EnvSpec("household").metadata_value("at_once")
    assert found.gate.split == EnvSpec("household").metadata_value("gate_split") is not None
    assert resolved(found, EnvSpec("household")) == found
    given = LoopConfig(
        Practice(tasks=2),
        Attempts(max_tokens=3, at_once=4),
        FitConfig(epochs=5, lr=0.1, batch_tokens=99),
        Gate(split="valid_unseen"),
    )
    assert resolved(given, EnvSpec("household")) == given
    assert resolved(LoopConfig(gate=Gate("off")), EnvSpec("household")).gate == Gate("off")


# -- Attempts ---------------------------------------------------------------------------------------------------------


def test_job_seeds_differ_by_task_sample_seed_and_stream(run):
    agent, (one, two) = run.make_agent(None, Attempts()), Practice(tasks=2).task_set(DOORS, 0)
    cases = [
        (task, sample, seed, stream)
        for task in (one, two)
        for sample in range(3)
        for seed in range(2)
        for stream in ("collect/policy@1", "collect/policy@2", "collect/reflection@1")
    ]
    seeds = [job(task, agent, sample, seed, stream).seed for task, sample, seed, stream in cases]
    assert len(set(seeds)) == len(cases) == 36
    assert seeds == [job(task, agent, sample, seed, stream).seed for task, sample, seed, stream in cases]
    correction = job(one, agent, 2, 0, "s", source="reflection", parents=("p",))
    assert (correction.task, correction.agent, correction.sample) == (one, agent, 2)
    assert (correction.source, correction.parents) == ("reflection", ("p",))


def test_the_agent_has_the_requested_sampling_settings(run):
    attempts = Attempts(temperature=0.5, max_tokens=40)
    agent = run.make_agent(None, attempts)
    assert isinstance(agent, ReActAgent)
    assert (agent.config.temperature, agent.config.max_tokens, agent.config.decoding) == (0.5, 40, "free")
    greedy = run.make_agent(None, attempts, temperature=0.0, decoding="constrained")
    assert isinstance(greedy, ReActAgent)
    assert (greedy.config.temperature, greedy.config.max_tokens, greedy.config.decoding) == (0.0, 40, "constrained")
    plain = run.make_agent(None, Attempts())
    assert isinstance(plain, ReActAgent)
    assert plain.config.max_tokens == 32
    named = replace(run, agent=AgentSpec("react", {"system": "Be brief."})).make_agent(None, attempts)
    assert isinstance(named, ReActAgent)
    assert (named.config.system, named.config.temperature) == ("Be brief.", 0.5)
    assert backend_of(run).opened == []


def test_attempts_are_played_once(run):
    attempts = Attempts(k=2, at_once=3, temperature=0.5, max_tokens=40)
    tasks, agent = Practice(tasks=5).task_set(DOORS, 0), run.make_agent(None, attempts)
    found = run.attempt(STAGE, agent, tasks, attempts, seed=0, stream="s")
    assert [(t.task.id, t.sample) for t in found] == [(t.id, i) for t in tasks for i in range(2)]
    assert {t.source for t in found} == {"policy"}
    assert {t.agent for t in found} == {agent.name}
    calls = agent.models[0].usage().calls
    assert calls >= 10
    assert run.attempt(STAGE, agent, tasks, attempts, seed=0, stream="s") == found == attempts_at(run.store, str(STAGE))
    assert agent.models[0].usage().calls == calls
    more = run.attempt(STAGE, agent, [*tasks, *run.env.tasks("valid_seen", 1)], attempts, seed=0, stream="s")
    assert more[:10] == found
    assert len(more) == 12


def test_attempts_are_cut_at_their_own_step_limit(store):
    """The environment's own limit is 2 steps, and the model never opens a door."""
    run = scripted_run(store, DOORS.id, lambda messages, sampling: "Thought: hm\nAction: wait")
    lengths = []
    for limit in (None, 1, 9):
        attempts = Attempts(k=1, max_steps=limit)
        tasks = Practice(tasks=1).task_set(DOORS, 0)
        agent, stage = run.make_agent(None, attempts), Stage("collect", f"limit {limit}", "train", 1)
        [found] = run.attempt(stage, agent, tasks, attempts, seed=0, stream="s")
        lengths.append((len(found.steps), found.outcome))
    assert lengths == [(2, "truncated"), (1, "truncated"), (2, "truncated")]


def test_results_do_not_depend_on_the_wave_size(store):
    found = []
    for at_once in (1, 3, 16):
        run = scripted_run(store, DOORS.id, guess)
        attempts = Attempts(k=2, at_once=at_once)
        stage = Stage("collect", "policy", "train", at_once)
        tasks = Practice(tasks=8).task_set(DOORS, 0)
        found.append(run.attempt(stage, run.make_agent(None, attempts), tasks, attempts, seed=0, stream="s"))
    assert found[0] == found[1] == found[2]
    assert {t.success for t in found[0]} == {True, False}


@dataclass
class RecordingPlayer(LocalPlayer):
    """Records the environment, number of jobs and wave size of each call."""

    calls: list[tuple[str, int, int]] = field(default_factory=list)

    def play(self, env, jobs, at_once, **options):
        self.calls.append((env.id, len(jobs), at_once))
        return super().play(env, jobs, at_once, **options)


def test_a_player_gets_only_missing_jobs_and_progress_counts_all(run):
    statuses: list[tuple[str, float]] = []
    run.store.on_status = lambda what, share: statuses.append((what, share))
    player, attempts = RecordingPlayer(), Attempts(k=1, at_once=3)
    run = replace(run, player=player)
    tasks, agent = list(Practice(tasks=8).task_set(DOORS, 0)), run.make_agent(None, attempts)
    run.attempt(STAGE, agent, tasks[:2], attempts, seed=0, stream="s")
    statuses.clear()
    run.attempt(STAGE, agent, tasks, attempts, seed=0, stream="s")
    run.attempt(STAGE, agent, tasks, attempts, seed=0, stream="s")
    assert player.calls == [(DOORS.id, 2, 3), (DOORS.id, 6, 3)]
    # The share that was stored before comes first.
    assert statuses == [(str(STAGE), pytest.approx((2 + i) / 8)) for i in range(7)]


def test_each_scope_has_its_own_stages_and_adapters(run):
    attempts, tasks = Attempts(k=1), Practice(tasks=2).task_set(DOORS, 0)
    for seed in range(2):
        view = run.with_scope(f"seed{seed}")
        view.attempt(STAGE, view.make_agent(None, attempts), tasks, attempts, seed=seed, stream="s")
        adapter = view.train("a@1", EXAMPLES, FitConfig(), seed=seed)
        assert adapter == run.store.folder / "adapters" / f"seed{seed}" / "a@1"
    assert [str(stage) for stage in run.store.trajectory_stages()] == [
        "collect/seed0/policy@1/train",
        "collect/seed1/policy@1/train",
    ]


# -- Training ---------------------------------------------------------------------------------------------------------


def test_an_adapter_is_trained_once_with_the_given_arguments(run):
    first = run.train("agent@1", EXAMPLES, FitConfig(lr=0.5), seed=3)
    assert first == run.store.folder / "adapters" / "agent@1"
    assert run.train("agent@1", [], FitConfig(), seed=4) == first
    second = run.train("agent@2", EXAMPLES, FitConfig(epochs=7), seed=3, start=first)
    learner = learner_of(run)
    assert list(learner.fitted) == ["agent@1", "agent@2"]
    assert learner.fitted["agent@1"] == EXAMPLES
    assert learner.starts == {"agent@1": None, "agent@2": "agent@1"}
    assert (learner.configs["agent@1"].lr, learner.configs["agent@1"].epochs) == (0.5, defaults_of(DOORS).epochs)
    assert learner.configs["agent@2"].epochs == 7
    assert backend_of(run).freed == 2
    assert second.name == "agent@2"


def test_each_training_has_its_own_seed(tmp_path):
    """The seed depends on the loop's seed, and on the stream or else the adapter's name."""

    def seed_of(folder: str, name: str, seed: int, stream: str | None = None) -> int:
        with RunStore.open(tmp_path / folder, {}) as store:
            run = scripted_run(store, DOORS.id, guess)
            run.train(name, EXAMPLES, FitConfig(seed=99), seed=seed, stream=stream)
            return learner_of(run).configs[name].seed

    found = [seed_of("1", "a@1", 0), seed_of("2", "a@2", 0), seed_of("3", "a@1", 1), seed_of("4", "a@1", 0, "other")]
    assert len(set(found)) == 4
    assert seed_of("5", "a@1", 0) == found[0]
    assert seed_of("6", "b@1", 0, "other") == found[3]
    assert all(0 <= seed < 1 << 31 for seed in found)


def test_a_failed_training_leaves_no_adapter_and_can_be_repeated(run):
    with pytest.raises(UsageError, match="nothing to train 'agent@1' on"):
        run.train("agent@1", [], FitConfig(), seed=0)
    assert not (run.store.folder / "adapters" / "agent@1").exists()
    assert run.train("agent@1", EXAMPLES, FitConfig(), seed=0).exists()


def test_training_reports_its_progress(run):
    statuses: list[tuple[str, float]] = []
    run.store.on_status = lambda what, share: statuses.append((what, share))
    run.train("agent@1", EXAMPLES * 2, FitConfig(), seed=0)
    assert statuses == [("train/agent@1/-", share) for share in (0.0, 0.5, 1.0)]


def chat_on_a_site() -> tuple[str, str, list[Message]]:
    site = next(site for site in SITES.values() if site.kind == "shop" and site.split == "train")
    label = site.labels["cart"]
    return (
        site.name,
        label,
        [
            Message("system", "Be quick."),
            Message(
                "user", f"Task: buy “Oak Lamp”\nTitle: Home · {site.name}\n[1] link '{label}'\n[2] link 'Oak Lamp'"
            ),
            Message("assistant", "Action: click [2]", (5, 6), trainable=False),
            Message("user", f"Title: Oak Lamp · {site.name}"),
            Message("assistant", "Action: stop [Oak Lamp]", (7, 8)),
        ],
    )


def test_each_epoch_has_other_names_if_the_family_supports_it(store):
    site, label, chat = chat_on_a_site()
    elsewhere = [replace(m, content=m.content.replace(site, "Elsewhere")) for m in chat]
    examples = [Example(chat, 0.5), Example(elsewhere, 0.25)]

    def trained(name: str, env: str, fit: FitConfig, rename: bool) -> tuple[list[Example], FitConfig]:
        run = scripted_run(store, env, guess)
        run.train(name, examples, fit, seed=0, rename=rename)
        return learner_of(run).fitted[name], learner_of(run).configs[name]

    eight, whole = trained("a@1", "web", FitConfig(), True)
    two, fractional = trained("a@2", "kintsugi/Web-v0", FitConfig(epochs=2.5), True)
    plain, not_renamed = trained("a@3", "web", FitConfig(), False)
    other, unsupported = trained("a@4", "household", FitConfig(), True)
    configs = (whole, fractional, not_renamed, unsupported)
    assert [config.epochs_or_default for config in configs] == [1.0, 1.25, 8.0, 3.0]
    assert (len(eight), len(two)) == (16, 4)
    assert [e.weight for e in eight] == [0.5, 0.25] * 8
    for example in eight[1::2]:
        assert example.messages == elsewhere
    copies = [example.messages for example in eight[::2]]
    assert len({tuple(m.content for m in copy) for copy in copies}) > 4
    for copy in copies:
        assert [(m.role, m.trainable) for m in copy] == [(m.role, m.trainable) for m in chat]
        assert copy[0] == chat[0]
        assert copy[2] == chat[2]
        product = copy[4].content.removeprefix("Action: stop [").removesuffix("]")
        assert f"“{product}”" in copy[1].content
        assert f"Title: {product} · " in copy[3].content
        assert (copy[4].token_ids is None) == (copy[4] != chat[4])
    assert any(f"'{label}'" not in copy[1].content for copy in copies)
    for same in (plain, other):
        assert [e.messages for e in same] == [chat, elsewhere]


def test_a_seed_family_of_another_package_can_rename(store, monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(install(tmp_path / "site", "gatehouse", doors="loop_seeds:RENAMING_FAMILY")))
    run = scripted_run(store, DOORS.id, guess)
    run.train("a@1", EXAMPLES, FitConfig(epochs=3), seed=0, rename=True)
    chats = [e.messages for e in learner_of(run).fitted["a@1"]]
    assert len(chats) == 3
    assert all(messages[1].content.startswith("RED ") for messages in chats)
    assert len({messages[1].content for messages in chats}) == 3
