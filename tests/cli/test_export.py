"""`kintsugi export`: content of the JSONL files, and their use with `datasets` and TRL."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_desks import ANSWERS, ROLE_OF
from fakes import scripted_run
from kintsugi.agents.models import Message, Sampling
from kintsugi.agents.trajectory import AgentSpec, Step
from kintsugi.cli.export import ExportConfig, export, preference_row
from kintsugi.envs import EnvSpec
from kintsugi.errors import UsageError
from kintsugi.loops.run import Attempts
from kintsugi.loops.runs.stages import Stage
from kintsugi.loops.runs.store import RunStore

TEMPLATE = (
    "{% for m in messages %}{% if m.role == 'assistant' %}"
    "{% generation %}{{ m.content }}{{ eos_token }}{% endgeneration %}"
    "{% else %}{{ m.role }}: {{ m.content }}{{ eos_token }}{% endif %}{% endfor %}"
)


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_messages_are_chats_of_successful_attempts(run, tmp_path):
    out = tmp_path / "out/sft.jsonl"
    assert export(ExportConfig(run, out)) == 6
    rows = read(out)
    assert {row["stage"] for row in rows} == {"collect/policy@1/train", "collect/reflection@1/train"}
    assert {row["outcome"] for row in rows} == {"success"}
    assert all(type(row["score"]) is float for row in rows)
    for row in rows:
        roles = [m["role"] for m in row["messages"]]
        assert roles == ["system", *["user", "assistant"] * 2]
        assert row["trainable"] == [role == "assistant" for role in roles]
    assert rows[0]["messages"][2]["content"] == "Thought: I look around.\nAction: look"
    assert [row["mends"] for row in rows if row["stage"] == "collect/reflection@1/train"] == [
        f"collect/policy@1/train:train/{number}#0" for number in ("003", "004", "007")
    ]


def test_held_out_tasks_are_exported_only_when_named(run, tmp_path):
    config = ExportConfig(run, tmp_path / "eval.jsonl", stages=("eval/base/valid_unseen",), outcomes=("truncated",))
    assert export(config) == 6
    with pytest.raises(UsageError, match="did you mean 'eval/base/valid_unseen'"):
        export(replace(config, out=tmp_path / "x.jsonl", stages=("eval/base/valid_unsen",)))


def test_a_kind_stands_for_all_stages_of_this_kind(run, tmp_path):
    everything = ("success", "failure", "truncated")
    config = ExportConfig(run, tmp_path / "kind.jsonl", stages=("eval",), outcomes=everything)
    export(config)
    with RunStore.read(run) as store:
        stages = tuple(str(stage) for stage in store.trajectory_stages() if stage.kind == "eval")
    assert len(stages) > 2
    export(replace(config, out=tmp_path / "names.jsonl", stages=("eval", *stages)))
    assert read(tmp_path / "kind.jsonl") == read(tmp_path / "names.jsonl")
    with pytest.raises(UsageError, match="unknown stage 'evel'; did you mean 'eval'"):
        export(replace(config, out=tmp_path / "x.jsonl", stages=("evel",)))


def test_a_run_of_measurements_says_why_they_are_left_out(tmp_path, attempt):
    with RunStore.open(tmp_path / "run", {}) as store:
        with pytest.raises(UsageError, match="holds no attempts yet; there is nothing to export"):
            export(ExportConfig(tmp_path / "run", tmp_path / "x.jsonl"))
        store.add(Stage("eval", "base", "valid"), [attempt(0, True)])
    config = ExportConfig(tmp_path / "run", tmp_path / "x.jsonl")
    with pytest.raises(UsageError, match=r"held-out tasks \(eval/base/valid\), .*; pass --stages eval to export them"):
        export(config)
    assert not (tmp_path / "x.jsonl").exists()
    assert export(replace(config, stages=("eval",))) == 1


# -- Chats as the agent reads them ------------------------------------------------------------------------------------


def play_and_store(
    folder: Path, env: str, agent: AgentSpec, answer: Callable[[Sequence[Message], Sampling], str], **params: Any
) -> list[list[dict[str, str]]]:
    """Store a run of attempts at two tasks; return every chat that its model read, with the answer."""
    chats_read = []

    def script(messages: Sequence[Message], sampling: Sampling) -> str:
        text = answer(messages, sampling)
        chats_read.append([*plain(messages), {"role": "assistant", "content": text}])
        return text

    with RunStore.open(folder, {}) as store:
        run = scripted_run(store, env, script, agent=agent)
        attempts = Attempts(k=2, max_tokens=200)
        tasks = EnvSpec(env).tasks("train", 2, **params)
        run.attempt(
            Stage("collect", "policy", "train", 1),
            run.make_agent(None, attempts),
            tasks,
            attempts,
            seed=0,
            stream="collect/policy",
        )
    return chats_read


def plain(messages: Sequence[Message]) -> list[dict[str, str]]:
    return [{"role": message.role, "content": message.content} for message in messages]


ALL = ("success", "failure", "truncated")


@pytest.mark.parametrize("args", [{}, {"system": "Be terse."}, {"restate_goal": False}])
def test_a_chat_is_what_the_model_read_and_wrote(args, tmp_path):
    spec = AgentSpec("react", args)
    chats_read = play_and_store(
        tmp_path / "run",
        "household",
        spec,
        lambda messages, sampling: f"Thought: hm\nAction: {('look', 'inventory', 'fly')[sampling.seed % 3]}",
    )
    export(ExportConfig(tmp_path / "run", tmp_path / "sft.jsonl", outcomes=ALL))
    rows = read(tmp_path / "sft.jsonl")
    assert len(rows) == 4
    for row in rows:
        assert row["messages"] in chats_read
        answers = [number for number, m in enumerate(row["messages"]) if m["role"] == "assistant"]
        assert len(answers) == 50
        assert all(row["messages"][: number + 1] in chats_read for number in answers)
        assert row["messages"][0]["content"].startswith(args.get("system", "You act in a text world."))


def test_each_call_of_a_trading_desk_is_a_row(tmp_path):
    chats_read = play_and_store(
        tmp_path / "run",
        "trading",
        AgentSpec("trading-group", {"style": False}),
        lambda messages, sampling: ANSWERS[ROLE_OF[messages[0].content]],
        bars="8",
    )
    export(ExportConfig(tmp_path / "run", tmp_path / "sft.jsonl", outcomes=ALL))
    rows = read(tmp_path / "sft.jsonl")
    with RunStore.read(tmp_path / "run") as store:
        attempts = store.trajectories(Stage("collect", "policy", "train", 1))
    calls = [call for attempt in attempts for step in attempt.steps for call in step.calls]
    assert len(rows) == len(calls) == len(chats_read) > 4 * 7
    assert sorted(map(json.dumps, (row["messages"] for row in rows))) == sorted(map(json.dumps, chats_read))
    assert {ROLE_OF[row["messages"][0]["content"]] for row in rows} >= {"forecast", "decision"}
    assert all([m["role"] for m in row["messages"]] == ["system", "user", "assistant"] for row in rows)
    assert {row["agent"].partition("-")[0] for row in rows} == {"trading"}
    with pytest.raises(UsageError, match="a pair needs a successful mend"):
        export(ExportConfig(tmp_path / "run", tmp_path / "dpo.jsonl", kind="preference"))


def test_expert_attempts_are_rendered_by_the_default_agent(tmp_path, attempt):
    with RunStore.open(tmp_path / "run", {}) as store:
        store.add(Stage("collect", "expert", "train"), [attempt(0, True, agent="", made_by=None, model="expert")])
    export(ExportConfig(tmp_path / "run", tmp_path / "sft.jsonl"))
    [row] = read(tmp_path / "sft.jsonl")
    assert row["messages"][0]["content"].startswith("You act in a text world.")
    assert (row["agent"], row["model"]) == ("", "expert")


def test_rules_have_no_chats(tmp_path, attempt):
    with RunStore.open(tmp_path / "run", {}) as store:
        store.add(Stage("collect", "rule", "train"), [attempt(0, True, agent="rule", made_by=None, model="rule")])
    with pytest.raises(UsageError, match="there is nothing to export from collect/rule/train"):
        export(ExportConfig(tmp_path / "run", tmp_path / "sft.jsonl"))


def test_the_environment_of_the_run_is_imported_to_condense_observations(tmp_path, attempt, monkeypatch):
    """The class is not imported beforehand, as in a new process."""
    (tmp_path / "murmurs.py").write_text(
        "from tiny_envs import Echo\n"
        "class Murmur(Echo):\n"
        "    env_id = 'tiny/Murmur-v0'\n"
        "    @staticmethod\n"
        "    def condense(observation, before):\n"
        "        return 'Hm.'\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with RunStore.open(tmp_path / "run", {"env": "murmurs:Murmur"}) as store:
        tried = attempt(0, True)
        store.add(
            Stage("collect", "policy", "train"), [replace(tried, task=replace(tried.task, env_id="tiny/Murmur-v0"))]
        )
    export(ExportConfig(tmp_path / "run", tmp_path / "sft.jsonl"))
    [row] = read(tmp_path / "sft.jsonl")
    assert {m["content"].partition("\n")[0] for m in row["messages"] if m["role"] == "user"} == {"Hm."}


def test_an_agent_that_is_not_installed_is_an_error(tmp_path, attempt):
    with RunStore.open(tmp_path / "run", {}) as store:
        made_by = AgentSpec("garden-agent")
        store.add(Stage("collect", "policy", "train"), [attempt(0, True, agent="garden-agent-1@m", made_by=made_by)])
    with pytest.raises(UsageError, match="unknown agent 'garden-agent'"):
        export(ExportConfig(tmp_path / "run", tmp_path / "sft.jsonl"))
    assert not (tmp_path / "sft.jsonl").exists()


# -- Preference pairs -------------------------------------------------------------------------------------------------


def test_preferences_start_at_the_first_difference(run, tmp_path):
    config = ExportConfig(run, tmp_path / "dpo.jsonl", kind="preference")
    assert export(config) == 3
    row = read(config.out)[0]
    assert [m["role"] for m in row["prompt"]] == ["system", "user", "assistant", "user"]
    assert row["chosen"] == [{"role": "assistant", "content": "Thought: I take it.\nAction: take mug 1"}]
    assert row["rejected"] == [{"role": "assistant", "content": "Thought: I take it.\nAction: take cup 1"}]
    export(replace(config, turns="all", overwrite=True))
    assert len(read(config.out)[0]["rejected"]) == 3


def test_attempts_that_do_not_differ_in_an_action_are_no_pair(attempt):
    failed = attempt(0, False)
    assert preference_row(failed, failed, "all") is None
    shorter = replace(failed, steps=failed.steps[:2])
    assert preference_row(failed, shorter, "all") is None
    elsewhere = replace(failed, steps=(Step("Another room.", "", "look"),))
    assert preference_row(failed, elsewhere, "all") is None


def test_a_mend_is_paired_with_its_parent(tmp_path, attempt):
    """Several stages and scopes have attempts at the same task and sample, each with its own mend."""
    with RunStore.open(tmp_path / "run", {}) as whole:
        for scope, number in (("", 1), ("", 2), ("seed1", 1)):
            store, stage = whole.with_scope(scope), Stage("collect", "policy", "train", number)
            failed = attempt(0, False)
            text = f"take cup {scope}{number}"
            wrong = replace(failed.steps[1], action=text, text=f"Thought: I take it.\nAction: {text}")
            failed = replace(failed, steps=(failed.steps[0], wrong, failed.steps[2]))
            store.add(stage, [failed])
            mended = attempt(0, True, source="reflection", parents=(store.key(stage, failed.key),))
            store.add(replace(stage, model="reflection"), [mended])
    export(ExportConfig(tmp_path / "run", tmp_path / "dpo.jsonl", kind="preference"))
    rejected = [row["rejected"][0]["content"].rpartition(": ")[2] for row in read(tmp_path / "dpo.jsonl")]
    assert rejected == ["take cup 1", "take cup 2", "take cup seed11"]
    export(ExportConfig(tmp_path / "run", tmp_path / "sft.jsonl"))
    assert [row["mends"] for row in read(tmp_path / "sft.jsonl")] == [
        "collect/policy@1/train:valid/000#0",
        "collect/policy@2/train:valid/000#0",
        "collect/seed1/policy@1/train:valid/000#0",
    ]


def test_existing_files_are_kept_and_no_partial_files_remain(run, tmp_path):
    config = ExportConfig(run, tmp_path / "sft.jsonl")
    config.out.write_text("mine")
    with pytest.raises(UsageError, match="--overwrite"):
        export(config)
    with pytest.raises(UsageError, match="add --outcomes"):
        export(replace(config, overwrite=True, outcomes=("failure",)))
    assert config.out.read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    with RunStore.open(tmp_path / "empty", {}):
        pass
    with pytest.raises(UsageError, match="holds no attempts yet"):
        export(ExportConfig(tmp_path / "empty", tmp_path / "x.jsonl"))
    with pytest.raises(UsageError, match="needs a successful mend"):
        export(ExportConfig(run, tmp_path / "x.jsonl", kind="preference", stages=("eval",)))


# -- Other libraries --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    tokenizers = pytest.importorskip("tokenizers")
    transformers = pytest.importorskip("transformers")
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    model = tokenizers.models.BPE({c: i for i, c in enumerate([*alphabet, "<eos>"])}, [])
    raw = tokenizers.Tokenizer(model)
    raw.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = tokenizers.decoders.ByteLevel()
    found = transformers.PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<eos>", pad_token="<eos>")
    found.chat_template = TEMPLATE
    return found


@pytest.fixture(scope="module")
def model(tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2
    )
    folder = tmp_path_factory.mktemp("model")
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    return str(folder)


def load(path: Path, tmp_path: Path) -> Any:
    datasets = pytest.importorskip("datasets")
    return datasets.load_dataset("json", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache"))


def settings(kind: Any, tmp_path: Path, **more: Any) -> Any:
    quiet = {"report_to": "none", "save_strategy": "no", "logging_strategy": "no", "disable_tqdm": True}
    return kind(
        output_dir=str(tmp_path / "trl"), max_steps=1, use_cpu=True, max_length=2048, bf16=False, **quiet, **more
    )


@pytest.mark.requires("datasets")
def test_datasets_loads_exported_files(run, tmp_path, hostile):
    export(ExportConfig(run, tmp_path / "sft.jsonl"))
    rows = load(tmp_path / "sft.jsonl", tmp_path)
    assert rows.to_list() == read(tmp_path / "sft.jsonl")
    export(ExportConfig(run, tmp_path / "dpo.jsonl", kind="preference"))
    assert load(tmp_path / "dpo.jsonl", tmp_path).to_list() == read(tmp_path / "dpo.jsonl")
    assert hostile in read(tmp_path / "dpo.jsonl")[1]["rejected"][0]["content"]


@pytest.mark.requires("datasets", "trl")
def test_trl_trains_on_messages(run, tmp_path, tokenizer, model):
    trl = pytest.importorskip("trl")
    export(ExportConfig(run, tmp_path / "sft.jsonl"))
    config = settings(trl.SFTConfig, tmp_path, assistant_only_loss=True)
    trainer = trl.SFTTrainer(
        model, config, train_dataset=load(tmp_path / "sft.jsonl", tmp_path), processing_class=tokenizer
    )
    batch = next(iter(trainer.get_train_dataloader()))
    counted = tokenizer.decode(batch["input_ids"][0][batch["labels"][0] != -100])
    assert counted.startswith("Thought: I look around.\nAction: look<eos>Thought: I take it.")
    assert "You are in a room" not in counted
    assert trainer.train().training_loss > 0


@pytest.mark.requires("datasets", "trl")
def test_trl_trains_on_preferences(run, tmp_path, tokenizer, model):
    trl = pytest.importorskip("trl")
    export(ExportConfig(run, tmp_path / "dpo.jsonl", kind="preference"))
    config = settings(trl.DPOConfig, tmp_path)
    rows = load(tmp_path / "dpo.jsonl", tmp_path)
    trainer = trl.DPOTrainer(model, args=config, train_dataset=rows, processing_class=tokenizer)
    assert trainer.train().training_loss > 0
