"""The example package: it is installed in a fresh environment, and every part of it works."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from kintsugi.agents.models import Message
from kintsugi.agents.models.weights import load_base, with_adapter
from kintsugi.envs import check_agent_env
from kintsugi.loops.learning.core import FitConfig
from kintsugi.loops.learning.learner import LocalLearner

ROOT = Path(__file__).parents[2]
PARTS = ROOT / "examples" / "my_loop" / "my_loop"
WORDS = ("cold", "down", "small", "dry", "slow", "young")
SCRIPT = {"Answer with one word.": list(WORDS), "": [f"Thought: hm\nAction: {word}" for word in WORDS]}
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def kintsugi(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return the command `kintsugi` of a fresh virtual environment with both packages and their dependencies."""
    folder = tmp_path_factory.mktemp("fresh")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    # Copies of the sources are installed, since building leaves files behind.
    for name in ("pyproject.toml", "README.md", "LICENSE", "py.typed"):
        (folder / "kintsugi").mkdir(exist_ok=True)
        shutil.copyfile(ROOT / name, folder / "kintsugi" / name)
    for path in ROOT.glob("*"):
        if path.suffix == ".py":
            shutil.copyfile(path, folder / "kintsugi" / path.name)
        elif (path / "__init__.py").exists():
            shutil.copytree(path, folder / "kintsugi" / path.name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "examples" / "my_loop", folder / "my_loop")
    (site,) = (folder / "venv").glob("lib/python*/site-packages")
    (site / "seen.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    install = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    install += ["--ignore-installed", str(folder / "kintsugi"), str(folder / "my_loop")]
    done = subprocess.run([folder / "venv/bin/python", *install], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (folder / "script.json").write_text(json.dumps(SCRIPT))

    def run(*words: object) -> subprocess.CompletedProcess[str]:
        command = [folder / "venv/bin/kintsugi", *map(str, words)]
        env = {"PATH": "/usr/bin:/bin", "KINTSUGI_CACHE": str(folder / "cache"), "HF_HUB_OFFLINE": "1"}
        return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)

    return run


def test_package_is_installed_and_listed(kintsugi):
    result = kintsugi("envs")
    assert (result.returncode, result.stderr) == (0, "")
    assert "from my-loop" in result.stdout
    assert "my-loop" in kintsugi("improve").stdout
    assert "from my-loop" not in kintsugi("improve", "my-loop", "--help").stdout


def test_loop_improves_a_scripted_model(kintsugi):
    result = kintsugi("improve", "my-loop", "--model", "scripted:script.json", "--run", "improved")
    assert (result.returncode, result.stderr) == (0, "")
    assert "adapter: improved/adapters/my_loop@1" in result.stdout
    (adopted,) = re.findall(r"my_loop@1 .*?\+(\d+\.\d) .* adopted", result.stdout)
    assert float(adopted) > 20


def test_agent_is_evaluated_and_compared(kintsugi):
    where = ("--env", "opposites", "--model", "scripted:script.json", "--run", "measured", "--tasks", "40")
    for agent in ("my-agent", "my_loop.agent:Voting", "react"):
        result = kintsugi("eval", *where, "--agent", agent, "--name", agent.replace(":", "-"))
        assert (result.returncode, result.stderr) == (0, ""), agent
    compared = kintsugi("compare", "measured/react", "measured/my-agent")
    assert compared.returncode == 0
    assert "my-agent" in compared.stdout
    wrong = kintsugi("eval", *where, "--agent", "my-agent", "--agent-args", "vote=5")
    assert wrong.returncode == 2
    assert "did you mean 'votes'" in wrong.stderr


def test_backend_guesses(kintsugi):
    guess = ("eval", "--env", "opposites", "--tasks", "30", "--run", "guessed", "--model")
    result = kintsugi(*guess, "guess:cold,dry")
    assert (result.returncode, result.stderr) == (0, "")
    assert "guess" in result.stdout
    assert "the model 'guess:' names no words" in kintsugi(*guess, "guess:").stderr
    untrained = kintsugi("improve", "my-loop", "--model", "guess:cold", "--run", "untrained")
    assert (untrained.returncode, "has no weights on this machine" in untrained.stderr) == (2, True)


def test_seed_policy_is_trained(kintsugi):
    made = kintsugi("seed", "opposites")
    assert (made.returncode, made.stderr) == (0, "")
    folder = Path(made.stdout.strip())
    assert (folder / "model.safetensors").exists()
    assert kintsugi("seed", "opposites").stdout.strip() == str(folder)


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the modules of the example importable."""
    monkeypatch.syspath_prepend(str(PARTS.parent))


def test_environment_passes_its_checks(parts):
    from my_loop.env import Opposites

    check_agent_env(Opposites)


def test_objective_prefers_the_chosen_chat(parts, tiny_model, tmp_path):
    from my_loop.objective import Dpo, Pair

    prompt = [Message("system", "Be brief."), Message("user", "yes or no?")]
    pairs = [Pair([*prompt, Message("assistant", "yes")], [*prompt, Message("assistant", "no")])] * 4
    config = FitConfig(epochs=8.0, lr=1e-3)
    result = LocalLearner(tiny_model).fit(pairs, tmp_path / "dpo@1", name="dpo@1", config=config, objective=Dpo())
    # Before training, both margins are 0 and the loss is log 2.
    assert result.loss < 0.69

    def preference(network) -> float:
        _, tokenizer = load_base(tiny_model)
        text = tokenizer.apply_chat_template([vars(m) for m in prompt], tokenize=False, add_generation_prompt=True)
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            texts = [torch.tensor([ids + tokenizer(word)["input_ids"][:1]]) for word in ("yes", "no")]
            scores = [network(input_ids=each).logits[0, -2].log_softmax(-1)[each[0, -1]] for each in texts]
        return float(scores[0] - scores[1])

    base = load_base(tiny_model)[0]
    before = preference(base)
    assert preference(with_adapter(base, tmp_path / "dpo@1")) > before


def test_line_counts_agree_with_the_docs():
    table = (ROOT / "docs" / "extending.md").read_text()
    for file in sorted(PARTS.glob("[!_]*.py")):
        lines = len(file.read_text().splitlines())
        assert lines <= 60, file
        assert f"| `my_loop/{file.name}` | {lines} |" in table, (file, lines)
