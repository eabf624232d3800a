"""Backends by name, scripted models and their tables, and lazy loading of local weights."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from command_line import offer
from kintsugi.agents.models import (
    Backend,
    Critic,
    LanguageModel,
    Message,
    Sampling,
    ScriptedBackend,
    Usage,
    open_backend,
)
from kintsugi.agents.models.local import LocalModel
from kintsugi.agents.models.registry import backends
from kintsugi.agents.models.weights import base_hash, model_version
from kintsugi.errors import UsageError
from kintsugi.loops.learning.core import Example, FitConfig, LoraShape, ValueExample
from kintsugi.loops.learning.learner import LocalLearner
from kintsugi.loops.learning.table import TableLearner
from kintsugi.loops.learning.value import ValueRegression
from tiny_models import save_tiny_model

CHAT = [Message("system", "You act."), Message("user", "hello")]
GREEDY = Sampling(0.0, 4)


def text_of(model: LanguageModel, chat: list[Message] | None = None, **sampling: Any) -> str:
    return asyncio.run(model.complete(chat or CHAT, Sampling(**sampling))).text


def ids(model: LanguageModel) -> tuple[int, ...]:
    return asyncio.run(model.complete(CHAT, GREEDY)).token_ids


def value(critic: Critic, chat: list[Message] | None = None) -> float:
    return asyncio.run(critic.value(chat or CHAT))


# -- Names ------------------------------------------------------------------------------------------------------------


def test_builtin_backends_come_first_and_scripts_need_no_heavy_library(tmp_path):
    assert [plugin.name for plugin in backends()[:5]] == ["local", "gguf", "smollm2", "scripted", "seed"]
    code = """
    import sys
    from kintsugi.agents.models import open_backend
    from kintsugi.agents.models.registry import backends
    backends()
    assert "kintsugi.agents.models.scripted" in sys.modules
    open_backend(sys.argv[1]).model()
    print(*sorted({"torch", "transformers", "kintsugi.agents.models.local", "kintsugi.loops"} & set(sys.modules)))
    """
    command = [sys.executable, "-c", textwrap.dedent(code), script(tmp_path, ["a"])]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
    assert (done.returncode, done.stdout, done.stderr) == (0, "\n", "")


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ("", "the model's name is empty; expected KIND:REST or a Hugging Face model folder"),
        ("scriptde:answers.json", r"unknown model 'scriptde:answers.json'; did you mean 'scripted:answers.json'"),
        ("locl:models/small", "did you mean 'local:models/small'"),
        ("qqqq:x", r"unknown model 'qqqq:x'; known: gguf:x, local:x, scripted:x, seed:x, smollm2"),
        ("locl", "unknown model 'locl'; did you mean 'local'"),
        (
            "local:no-such-org/no-such-model",
            "unknown model 'no-such-org/no-such-model': it is no folder, and no model in the local Hugging Face cache",
        ),
        ("local:", "is not a model that can be loaded"),
        ("scripted:", "cannot read the script ''"),
    ],
)
def test_unknown_models_are_rejected(spec, why, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=why):
        open_backend(spec)


def test_backends_of_installed_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    info = tmp_path / "parrots-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: parrots\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[kintsugi.backends]\nparrot = parrots_backend:open_parrot\n")
    (tmp_path / "parrots_backend.py").write_text(
        "from kintsugi.agents.models import ScriptedBackend\n"
        "def open_parrot(rest, on_status):\n"
        "    on_status('teaching', 1.0)\n"
        "    return ScriptedBackend(lambda messages, sampling: messages[-1].content + rest, f'parrot:{rest}')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    watched: list[tuple[str, float]] = []
    backend = open_backend("parrot:!:!", lambda what, share: watched.append((what, share)))
    assert (backend.base, text_of(backend.model()), watched) == ("parrot:!:!", "hello!:!", [("teaching", 1.0)])


@pytest.mark.parametrize(
    ("target", "why"),
    [
        (
            "math:pi",
            r"backend 'odd' \(from odds\): 'math:pi' is 3.14\S+; expected a function with the arguments rest",
        ),
        (
            "builtins:isinstance",
            r"backend 'odd' \(from odds\) opened .*, which lacks base, repeatable, weights",
        ),
        ("builtins:len", r"'builtins:len' is <built-in function len>; expected a function with the arguments rest"),
        ("nowhere:open", "cannot import 'nowhere:open'"),
    ],
)
def test_invalid_backend_plugins_are_rejected(target, why, tmp_path, monkeypatch):
    offer(tmp_path, "kintsugi.backends", {"odd": target}, "odds")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UsageError, match=why):
        open_backend("odd:x", str)


# -- Scripts ----------------------------------------------------------------------------------------------------------


def script(folder: Path, content: Any, name: str = "answers.json") -> str:
    (folder / name).write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return f"scripted:{folder / name}"


def test_script_list_is_returned_by_turn(tmp_path):
    backend = open_backend(script(tmp_path, ["eins", "zwei é"]))
    model = backend.model()
    longer = [*CHAT, Message("assistant", "eins"), Message("user", "more")]
    assert [text_of(model), text_of(model, longer), text_of(model)] == ["eins", "zwei é", "eins"]
    assert (backend.repeatable, backend.weights, model.version) == (True, None, backend.base)
    assert backend.base.startswith("answers.json:")


def test_script_object_matches_system_prompt_and_last_turn(tmp_path):
    rules = {"You judge": "Good", "red": ["a", "b", "c"], "hello": "hi", "": "what?"}
    model = open_backend(script(tmp_path, rules)).model()
    assert text_of(model) == "hi"
    assert text_of(model, [Message("system", "You judge."), Message("user", "red")]) == "Good"
    reds = [text_of(model, [Message("user", "a red door")], seed=seed) for seed in range(6)]
    assert reds == ["a", "b", "c"] * 2
    middle = [CHAT[0], Message("user", "red"), Message("assistant", "a"), Message("user", "blue")]
    assert text_of(model, middle) == "what?"
    assert text_of(open_backend(script(tmp_path, {"red": "a"})).model()) == ""


def test_base_depends_on_the_content_of_the_script(tmp_path):
    (tmp_path / "other").mkdir()
    base = open_backend(script(tmp_path, ["a"])).base
    assert open_backend(script(tmp_path / "other", '[ "a" ]')).base == base
    assert open_backend(script(tmp_path, ["b"])).base != base
    assert open_backend(script(tmp_path, ["a"], "more.json")).base != base


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ('["a"', "cannot read the script .*answers.json'"),
        (b"\xff\xfe", "cannot read the script"),
        ([], "has the wrong form; expected a list of texts, or an object of texts or lists of texts"),
        ({}, "has the wrong form"),
        ("3", "has the wrong form"),
        (["a", 1], "has the wrong form"),
        ({"a": 1}, "has the wrong form"),
        ({"a": []}, "has the wrong form"),
        ({"a": ["b", None]}, "has the wrong form"),
    ],
)
def test_invalid_scripts_are_rejected(content, why, tmp_path):
    if isinstance(content, bytes):
        (tmp_path / "answers.json").write_bytes(content)
        spec = f"scripted:{tmp_path / 'answers.json'}"
    else:
        spec = script(tmp_path, content)
    with pytest.raises(UsageError, match=why):
        open_backend(spec)


def test_missing_script_is_rejected(tmp_path):
    with pytest.raises(
        UsageError, match=r"cannot read the script '.*nothing.json' .*; expected scripted:FILE with a JSON"
    ):
        open_backend(f"scripted:{tmp_path / 'nothing.json'}")


# -- Tables -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """An adapter with an answer to CHAT, an empty answer to the turn after it, and a value of CHAT."""
    out = tmp_path / "agent@2"
    out.mkdir()
    messages = [*CHAT, Message("assistant", "learnt"), Message("user", "and?"), Message("assistant", "")]
    values = [ValueExample(CHAT, 0.25), ValueExample(CHAT, 0.75 - 0.25)]
    TableLearner().fit([Example(messages), *values], out, name="agent@2", config=FitConfig())
    return out


def test_table_answers_known_chats_and_the_base_script_others(table):
    backend = ScriptedBackend(["base"], "b")
    model, base = backend.model(table), backend.model()
    assert (text_of(model), text_of(base)) == ("learnt", "base")
    assert text_of(model, [Message("user", "hello")]) == "base"
    # An empty answer in the table is an answer.
    assert text_of(model, [*CHAT, Message("assistant", "learnt"), Message("user", "and?")]) == ""
    critic = backend.critic(table)
    assert (value(critic), value(critic, CHAT[1:])) == (0.375, 0.5)
    assert critic.usage() == Usage(calls=2)


def test_version_depends_on_base_and_table(table, tmp_path):
    backend = ScriptedBackend(["base"], "b")
    version = backend.model(table).version
    assert backend.model().version == "b"
    assert version.startswith("b+agent@2:")
    copied = Path(shutil.copytree(table, tmp_path / "x" / table.name))
    assert version == backend.critic(table).version == backend.model(copied).version
    other = Path(shutil.copytree(table, tmp_path / "y" / table.name))
    TableLearner().fit([Example([*CHAT, Message("assistant", "else")])], other, name="agent@2", config=FitConfig())
    assert backend.model(other).version not in (version, "b")


def test_scripts_replace_adapters(table):
    def exact(messages: Sequence[Message], sampling: Sampling) -> str:
        return "of this round"

    def any_(messages: Sequence[Message], sampling: Sampling) -> str:
        return "of any round"

    assert (
        text_of(ScriptedBackend(["base"], adapters={"agent@2": exact, "agent": any_}).model(table)) == "of this round"
    )
    assert text_of(ScriptedBackend(["base"], adapters={"agent@1": exact, "agent": any_}).model(table)) == "of any round"
    assert text_of(ScriptedBackend(["base"], adapters={"agent@1": exact}).model(table)) == "learnt"
    assert text_of(ScriptedBackend(["base"], adapters={"base": exact}).model()) == "of this round"


def test_backend_records_called_models_and_free(table):
    backend = ScriptedBackend(["base"], adapters={})
    model, base, _ = backend.model(table), backend.model(), backend.model()
    assert backend.opened == []
    for each in (model, base, model):
        text_of(each)
    asyncio.run(base.score(CHAT, ["a"]))
    assert backend.opened == ["agent@2", "base"]
    backend.free()
    assert backend.freed == 1


@pytest.mark.parametrize("content", [None, "{", "[]", '{"turns": {}}', '{"turns": 1, "values": {}}'])
def test_folders_without_a_table_are_rejected(content, tmp_path):
    adapter = tmp_path / "agent@1"
    adapter.mkdir()
    if content is not None:
        (adapter / "table.json").write_text(content)
    backend = ScriptedBackend(["base"], adapters={"other": lambda *_: ""})
    for refused in (
        lambda: backend.model(adapter),
        lambda: backend.critic(adapter),
        lambda: ScriptedBackend(["base"], adapters={"agent": lambda *_: ""}).model(adapter),
    ):
        with pytest.raises(UsageError, match=r"agent@1 has no valid table.json of a scripted model"):
            refused()


# -- Weights ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tiny_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model, tmp_path / "tiny"))


@pytest.fixture(scope="module")
def adapters(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An adapter and a value model."""
    agent, critic = tmp_path_factory.mktemp("adapters") / "agent@1", tmp_path_factory.mktemp("adapters") / "value@1"
    config, learner = FitConfig(LoraShape(rank=2), lr=0.05, epochs=2), LocalLearner(tiny_model)
    learner.fit([Example([*CHAT, Message("assistant", "ho ho")])], agent, name="agent@1", config=config)
    values = [ValueExample(CHAT, 0.25), ValueExample(CHAT[1:], 1.0)]
    learner.fit(values, critic, name="value@1", config=config, objective=ValueRegression())
    return agent, critic


@contextmanager
def without_weights(folder: Path) -> Iterator[None]:
    """Within the block, loading the model fails."""
    weights = folder / "model.safetensors"
    away = weights.rename(folder / "away")
    yield
    away.rename(weights)


def test_folder_is_opened_with_and_without_prefix(tiny_model):
    for spec in (f"local:{tiny_model}", str(tiny_model)):
        backend = open_backend(spec)
        assert (backend.base, Path(str(backend.weights))) == (f"tiny:{base_hash(tiny_model)}", tiny_model)
        assert backend.model().version == model_version(tiny_model)


def test_weights_are_loaded_at_the_first_call(folder, adapters):
    backend: Backend = open_backend(f"local:{folder}")
    base, tuned, critic = backend.model(), backend.model(adapters[0]), backend.critic(adapters[1])
    with without_weights(folder):
        assert isinstance(base, LanguageModel)
        assert (base.version, base.window, base.usage()) == (backend.base.removeprefix("tiny:"), 256, Usage())
        assert tuned.version.startswith(f"{base.version}+agent@1:")
        assert critic.version.startswith(f"{base.version}+value@1:")
        base.start_wave()
        backend.free()
        for ask in (lambda: ids(base), lambda: ids(tuned), lambda: value(critic)):
            with pytest.raises(UsageError, match="tiny': the weights cannot be loaded"):
                ask()
        with pytest.raises(UsageError, match="tiny': the weights cannot be loaded"):
            asyncio.run(base.score(CHAT, ["a"]))
        assert (base.usage(), critic.usage()) == (Usage(), Usage())
    assert ids(base) == asyncio.run(LocalModel.load(folder).complete(CHAT, GREEDY)).token_ids
    assert ids(tuned) == asyncio.run(LocalModel.load(folder, adapters[0]).complete(CHAT, GREEDY)).token_ids
    assert 0.0 <= value(critic) <= 1.0


def test_freed_models_are_loaded_again_at_the_next_call(folder, adapters):
    backend = open_backend(f"local:{folder}")
    model, critic = backend.model(parallel=2), backend.critic(adapters[1])
    first, first_value = ids(model), value(critic)
    asyncio.run(model.score(CHAT, ["a"]))
    used, judged = model.usage(), critic.usage()
    assert (used.calls, used.sampled_tokens, judged.calls) == (2, len(first), 1)
    assert used.seconds > 0
    with without_weights(folder):
        # The model stays in memory until it is freed.
        assert ids(model) == first
        backend.free()
        backend.free()
        assert (model.usage().calls, critic.usage()) == (3, judged)
        with pytest.raises(UsageError, match="the weights cannot be loaded"):
            ids(model)
    assert (ids(model), value(critic)) == (first, first_value)
    after = model.usage()
    assert (after.calls, after.sampled_tokens) == (4, 3 * len(first))
    assert after.read_tokens == 3 * used.read_tokens
    assert after.seconds > used.seconds
    assert critic.usage().calls == 2


def test_adapter_of_another_base_is_rejected_before_loading(adapters, tmp_path):
    other = save_tiny_model(tmp_path / "other", seed=1)
    backend = open_backend(f"local:{other}")
    with pytest.raises(UsageError, match=r"agent@1 was trained on base \w{12}, but the hash of .*other' is"):
        backend.model(adapters[0])
    with pytest.raises(UsageError, match=r"value@1 was trained on base"):
        backend.critic(adapters[1])
    with pytest.raises(UsageError, match=r"has no adapter_config.json; expected a PEFT adapter folder"):
        backend.model(tmp_path)


def test_adapter_without_value_head_is_rejected(tiny_model, adapters):
    critic = open_backend(f"local:{tiny_model}").critic(adapters[0])
    with pytest.raises(UsageError, match="agent@1 has no value head that fits"):
        value(critic)
