"""Equal trainings write equal files, whatever order sets have in a process."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TRAIN = """
import sys
from pathlib import Path
from kintsugi.agents.models.core import Message
from kintsugi.loops.learning.core import Example, FitConfig, LoraShape
from kintsugi.loops.learning.learner import LocalLearner
model, out = map(Path, sys.argv[1:3])
example = Example([Message("user", "a"), Message("assistant", "b")])
config = FitConfig(LoraShape(rank=2, targets=sys.argv[3]), epochs=1)
LocalLearner(model).fit([example], out / "agent@1", name="agent@1", config=config)
LocalLearner(model).fit([example], out / "agent@2", name="agent@2", config=config, start=out / "agent@1")
"""


@pytest.mark.parametrize("targets", ["all-linear", "v_proj,q_proj,o_proj"])
def test_all_files_of_an_adapter_are_the_same_under_every_hash_seed(tiny_model: Path, tmp_path: Path, targets):
    found = []
    for seed in ("1", "2", "3"):
        env = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        command = [sys.executable, "-c", TRAIN, str(tiny_model), str(tmp_path / seed), targets]
        subprocess.run(command, env=env, check=True, capture_output=True)
        files = sorted(path for path in (tmp_path / seed).rglob("*") if path.is_file())
        found.append({str(f.relative_to(tmp_path / seed)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files})
    assert found[0] == found[1] == found[2]
    assert {"agent@1/adapter_config.json", "agent@2/adapter_model.safetensors"} <= found[0].keys()
    config = json.loads((tmp_path / "1" / "agent@2" / "adapter_config.json").read_text())
    assert len(config["target_modules"]) > 2
    assert config["target_modules"] == sorted(config["target_modules"])
