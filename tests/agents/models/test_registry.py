"""Back ends by name: what a name may be, that nothing is loaded before it is asked, and models that follow a script."""

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
from kintsugi.loops.learning.core import Example, FitConfig, Judgement, LoraShape
from kintsugi.loops.learning.learner import LocalLearner
from kintsugi.loops.learning.table import TableLearner
from kintsugi.loops.learning.value import ValueRegression
from tiny_models import saved

CHAT = [Message("system", "You act."), Message("user", "hello")]
GREEDY = Sampling(0.0, 4)


def says(model: LanguageModel, chat: list[Message] | None = None, **sampling: Any) -> str:
    return asyncio.run(model.complete(chat or CHAT, Sampling(**sampling))).text


def ids(model: LanguageModel) -> tuple[int, ...]:
    return asyncio.run(model.complete(CHAT, GREEDY)).token_ids


def value(critic: Critic, chat: list[Message] | None = None) -> float:
    return asyncio.run(critic.value(chat or CHAT))


# -- Names ------------------------------------------------------------------------------------------------------------


def test_ours_come_first_and_scripts_need_no_heavy_library(tmp_path):
    assert [part.name for part in backends()[:3]] == ["local", "scripted", "seed"]
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
        ("", "the model's name is empty; expected KIND:REST, or a Hugging Face model folder"),
        ("scriptde:answers.json", r"unknown model 'scriptde:answers.json'; did you mean 'scripted:answers.json'"),
        ("locl:models/small", "did you mean 'local:models/small'"),
        ("qqqq:x", r"unknown model 'qqqq:x'; known: local:x, scripted:x, seed:x"),
        ("locl", "unknown model 'locl'; did you mean 'local'"),
        ("local:no-such-org/no-such-model", "unknown model 'no-such-org/no-such-model'"),
        ("local:", "is no model that can be loaded"),
        ("scripted:", "cannot read the script ''"),
    ],
)
def test_names_that_are_none_are_refused(spec, why, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=why):
        open_backend(spec)


def test_a_package_offers_another_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    info = tmp_path / "parrots-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: parrots\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[kintsugi.backends]\nparrot = parrots_backend:open_parrot\n")
    (tmp_path / "parrots_backend.py").write_text(
        "from kintsugi.agents.models import ScriptedBackend\n"
        "def open_parrot(rest, watch):\n"
        "    watch('teaching', 1.0)\n"
        "    return ScriptedBackend(lambda messages, sampling: messages[-1].content + rest, f'parrot:{rest}')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    watched: list[tuple[str, float]] = []
    backend = open_backend("parrot:!:!", lambda what, share: watched.append((what, share)))
    assert (backend.base, says(backend.model()), watched) == ("parrot:!:!", "hello!:!", [("teaching", 1.0)])


@pytest.mark.parametrize(
    ("target", "why"),
    [
        (
            "math:pi",
            r"back end 'odd' \(from odds\): 'math:pi' is 3.14\S+; expected a function of the text",
        ),
        (
            "builtins:isinstance",
            r"back end 'odd' \(from odds\) opened .*, which lacks base, repeatable, weights",
        ),
        ("builtins:len", r"'builtins:len' is <built-in function len>; expected a function of the text after the colon"),
        ("nowhere:open", "cannot import 'nowhere:open'"),
    ],
)
def test_what_opens_no_back_end_is_refused(target, why, tmp_path, monkeypatch):
    offer(tmp_path, "kintsugi.backends", {"odd": target}, "odds")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UsageError, match=why):
        open_backend("odd:x", str)


# -- Scripts ----------------------------------------------------------------------------------------------------------


def script(folder: Path, content: Any, name: str = "answers.json") -> str:
    (folder / name).write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return f"scripted:{folder / name}"


def test_a_list_is_said_turn_by_turn(tmp_path):
    backend = open_backend(script(tmp_path, ["eins", "zwei é"]))
    model = backend.model()
    longer = [*CHAT, Message("assistant", "eins"), Message("user", "more")]
    assert [says(model), says(model, longer), says(model)] == ["eins", "zwei é", "eins"]
    assert (backend.repeatable, backend.weights, model.version) == (True, None, backend.base)
    assert backend.base.startswith("answers.json:")


def test_an_object_looks_for_its_keys_in_the_system_prompt_and_the_last_turn(tmp_path):
    rules = {"You judge": "Good", "red": ["a", "b", "c"], "hello": "hi", "": "what?"}
    model = open_backend(script(tmp_path, rules)).model()
    assert says(model) == "hi"
    assert says(model, [Message("system", "You judge."), Message("user", "red")]) == "Good"
    reds = [says(model, [Message("user", "a red door")], seed=seed) for seed in range(6)]
    assert reds == ["a", "b", "c"] * 2
    middle = [CHAT[0], Message("user", "red"), Message("assistant", "a"), Message("user", "blue")]
    assert says(model, middle) == "what?"
    assert says(open_backend(script(tmp_path, {"red": "a"})).model()) == ""


def test_a_script_is_named_by_what_it_says(tmp_path):
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
        ([], "is neither a list of texts nor an object of texts or lists of texts"),
        ({}, "is neither a list"),
        ("3", "is neither a list"),
        (["a", 1], "is neither a list"),
        ({"a": 1}, "is neither a list"),
        ({"a": []}, "is neither a list"),
        ({"a": ["b", None]}, "is neither a list"),
    ],
)
def test_files_that_are_no_script_are_refused(content, why, tmp_path):
    if isinstance(content, bytes):
        (tmp_path / "answers.json").write_bytes(content)
        spec = f"scripted:{tmp_path / 'answers.json'}"
    else:
        spec = script(tmp_path, content)
    with pytest.raises(UsageError, match=why):
        open_backend(spec)


def test_a_missing_script_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"cannot read the script '.*nothing.json' .*; expected scripted:FILE, a JSON"):
        open_backend(f"scripted:{tmp_path / 'nothing.json'}")


# -- Tables -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """What was learnt by heart: an answer to CHAT, to its next turn nothing at all, and what CHAT is worth."""
    out = tmp_path / "agent@2"
    out.mkdir()
    silence = [*CHAT, Message("assistant", "learnt"), Message("user", "and?"), Message("assistant", "")]
    worth = [Judgement(CHAT, 0.25), Judgement(CHAT, 0.75 - 0.25)]
    TableLearner().fit([Example(silence), *worth], out, name="agent@2", config=FitConfig())
    return out


def test_an_adapter_is_a_table_and_the_base_says_the_rest(table):
    backend = ScriptedBackend(["base"], "b")
    model, base = backend.model(table), backend.model()
    assert (says(model), says(base)) == ("learnt", "base")
    assert says(model, [Message("user", "hello")]) == "base"
    # An answer without words is one too.
    assert says(model, [*CHAT, Message("assistant", "learnt"), Message("user", "and?")]) == ""
    critic = backend.critic(table)
    assert (value(critic), value(critic, CHAT[1:])) == (0.375, 0.5)
    assert critic.usage() == Usage(calls=2)


def test_the_version_names_base_and_table(table, tmp_path):
    backend = ScriptedBackend(["base"], "b")
    version = backend.model(table).version
    assert backend.model().version == "b"
    assert version.startswith("b+agent@2:")
    copied = Path(shutil.copytree(table, tmp_path / "x" / table.name))
    assert version == backend.critic(table).version == backend.model(copied).version
    other = Path(shutil.copytree(table, tmp_path / "y" / table.name))
    TableLearner().fit([Example([*CHAT, Message("assistant", "else")])], other, name="agent@2", config=FitConfig())
    assert backend.model(other).version not in (version, "b")


def test_scripts_stand_in_for_what_adapters_have_learnt(table):
    def exact(messages: Sequence[Message], sampling: Sampling) -> str:
        return "of this round"

    def any_(messages: Sequence[Message], sampling: Sampling) -> str:
        return "of any round"

    assert says(ScriptedBackend(["base"], adapters={"agent@2": exact, "agent": any_}).model(table)) == "of this round"
    assert says(ScriptedBackend(["base"], adapters={"agent@1": exact, "agent": any_}).model(table)) == "of any round"
    assert says(ScriptedBackend(["base"], adapters={"agent@1": exact}).model(table)) == "learnt"
    assert says(ScriptedBackend(["base"], adapters={"base": exact}).model()) == "of this round"


def test_it_is_known_who_was_asked_and_what_was_freed(table):
    backend = ScriptedBackend(["base"], adapters={})
    model, base, _ = backend.model(table), backend.model(), backend.model()
    assert backend.opened == []
    for each in (model, base, model):
        says(each)
    asyncio.run(base.score(CHAT, ["a"]))
    assert backend.opened == ["agent@2", "base"]
    backend.free()
    assert backend.freed == 1


@pytest.mark.parametrize("content", [None, "{", "[]", '{"turns": {}}', '{"turns": 1, "values": {}}'])
def test_folders_without_a_table_are_refused(content, tmp_path):
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
        with pytest.raises(UsageError, match=r"agent@1 holds no table.json of a scripted model"):
            refused()


# -- Weights ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tiny_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model, tmp_path / "tiny"))


@pytest.fixture(scope="module")
def adapters(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An adapter, and a value model."""
    agent, critic = tmp_path_factory.mktemp("adapters") / "agent@1", tmp_path_factory.mktemp("adapters") / "value@1"
    config, learner = FitConfig(LoraShape(rank=2), lr=0.05, epochs=2), LocalLearner(tiny_model)
    learner.fit([Example([*CHAT, Message("assistant", "ho ho")])], agent, name="agent@1", config=config)
    worth = [Judgement(CHAT, 0.25), Judgement(CHAT[1:], 1.0)]
    learner.fit(worth, critic, name="value@1", config=config, objective=ValueRegression())
    return agent, critic


@contextmanager
def without_weights(folder: Path) -> Iterator[None]:
    """Whoever loads the model now cannot."""
    weights = folder / "model.safetensors"
    away = weights.rename(folder / "away")
    yield
    away.rename(weights)


def test_a_folder_is_opened_with_and_without_its_kind(tiny_model):
    for spec in (f"local:{tiny_model}", str(tiny_model)):
        backend = open_backend(spec)
        assert (backend.base, Path(str(backend.weights))) == (f"tiny:{base_hash(tiny_model)}", tiny_model)
        assert backend.model().version == model_version(tiny_model)


def test_nothing_is_loaded_before_a_model_is_asked(folder, adapters):
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
            with pytest.raises(UsageError, match="tiny': its weights cannot be loaded"):
                ask()
        with pytest.raises(UsageError, match="tiny': its weights cannot be loaded"):
            asyncio.run(base.score(CHAT, ["a"]))
        assert (base.usage(), critic.usage()) == (Usage(), Usage())
    assert ids(base) == asyncio.run(LocalModel.load(folder).complete(CHAT, GREEDY)).token_ids
    assert ids(tuned) == asyncio.run(LocalModel.load(folder, adapters[0]).complete(CHAT, GREEDY)).token_ids
    assert 0.0 <= value(critic) <= 1.0


def test_what_was_freed_is_loaded_again_when_it_is_asked(folder, adapters):
    backend = open_backend(f"local:{folder}")
    model, critic = backend.model(parallel=2), backend.critic(adapters[1])
    first, worth = ids(model), value(critic)
    asyncio.run(model.score(CHAT, ["a"]))
    used, judged = model.usage(), critic.usage()
    assert (used.calls, used.sampled_tokens, judged.calls) == (2, len(first), 1)
    assert used.seconds > 0
    with without_weights(folder):
        # It is in memory, until it is freed.
        assert ids(model) == first
        backend.free()
        backend.free()
        assert (model.usage().calls, critic.usage()) == (3, judged)
        with pytest.raises(UsageError, match="its weights cannot be loaded"):
            ids(model)
    assert (ids(model), value(critic)) == (first, worth)
    after = model.usage()
    assert (after.calls, after.sampled_tokens) == (4, 3 * len(first))
    assert after.read_tokens == 3 * used.read_tokens
    assert after.seconds > used.seconds
    assert critic.usage().calls == 2


def test_an_adapter_of_another_base_is_refused_before_anything_is_loaded(adapters, tmp_path):
    other = saved(tmp_path / "other", seed=1)
    backend = open_backend(f"local:{other}")
    with pytest.raises(UsageError, match=r"agent@1 was trained on base \w{12}, the hash of .*other' is"):
        backend.model(adapters[0])
    with pytest.raises(UsageError, match=r"value@1 was trained on base"):
        backend.critic(adapters[1])
    with pytest.raises(UsageError, match=r"holds no adapter_config.json; give a PEFT adapter folder"):
        backend.model(tmp_path)


def test_an_adapter_without_a_head_judges_nothing(tiny_model, adapters):
    critic = open_backend(f"local:{tiny_model}").critic(adapters[0])
    with pytest.raises(UsageError, match="agent@1 holds no value head that fits"):
        value(critic)
