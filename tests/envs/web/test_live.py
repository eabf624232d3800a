"""Tests of live tasks, played on a loopback site and judged by a scripted model."""

from __future__ import annotations

import json

import pytest
from kintsugi.agents.judge import JudgeConfig, WebJudge, parse_verdict
from kintsugi.agents.models.core import Completion
from kintsugi.envs.web import WebConfig, WebEnv
from kintsugi.errors import InfraError, UsageError


class ScriptedJudge:
    """A model that returns given texts in order and stores the prompts."""

    version = "scripted"

    def __init__(self, *texts):
        self.texts, self.prompts = list(texts), []

    async def complete(self, messages, sampling):
        self.prompts.append(messages[-1].content)
        return Completion(self.texts.pop(0), (1,), (0.0,), "stop")

    async def score(self, messages, candidates):
        raise AssertionError


def save_tasks(path, *entries, array=False):
    path.write_text(json.dumps(entries) if array else "\n".join(map(json.dumps, entries)))
    return str(path)


def test_both_published_formats_are_read(tmp_path):
    voyager = save_tasks(
        tmp_path / "v.jsonl", {"id": "A--1", "ques": "Find it", "web": "https://a.example/", "web_name": "A"}
    )
    (task,) = WebEnv.tasks("test", world="live", path=voyager)
    assert (task.id, task.params["type"], task.params["url"]) == ("live/A--1", "A", "https://a.example/")
    condition = {"content": {"url": "https://b.example/deep/page?x=1"}}
    entries = [{"index": i, "task": f"Do {i}", "evaluation": [condition]} for i in range(3)]
    for array in (True, False):
        tasks = WebEnv.tasks("test", world="live", path=save_tasks(tmp_path / "m.json", *entries, array=array))
        assert [t.params["goal"] for t in tasks] == ["Do 0", "Do 1", "Do 2"]
        assert tasks.tasks[0].params["url"] == "https://b.example/"
    drawn = WebEnv.tasks("test", 2, world="live", path=str(tmp_path / "m.json"))
    assert len({t.id for t in drawn} & {t.id for t in tasks}) == 2
    assert WebEnv.tasks("test", 100, world="live", path=str(tmp_path / "m.json")).hash == tasks.hash


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"ques": "x", "web": "https://a.example"}\nnonsense', ":2: not JSON"),
        ('[{"ques": "x"}]', "entry 1 is not a task"),
        ("[7]", "entry 1 is not a task"),
        ('[{"ques": "", "web": "https://a.example"}]', "entry 1 is not a task"),
    ],
)
def test_invalid_files_are_errors(tmp_path, text, reason):
    path = tmp_path / "bad.jsonl"
    path.write_text(text)
    with pytest.raises(UsageError, match=reason):
        WebEnv.tasks("test", world="live", path=str(path))


def test_missing_files_judges_and_hosts_are_errors(tmp_path):
    with pytest.raises(UsageError, match="cannot read live tasks"):
        WebEnv.tasks("test", world="live", path=str(tmp_path / "none"))
    with pytest.raises(UsageError, match="path is missing"):
        WebEnv.tasks("test", world="live")
    path = save_tasks(tmp_path / "v.jsonl", {"id": "1", "ques": "Find it", "web": "https://a.example/"})
    (task,) = WebEnv.tasks("test", world="live", path=path)
    with pytest.raises(UsageError, match="has no judge"):
        WebEnv().reset(options={"task": task})
    with pytest.raises(UsageError, match=r"allow its host with .*'a.example'"):
        WebEnv(judge=lambda *_: 1.0).reset(options={"task": task})


@pytest.mark.requires("chromium")
def test_the_judge_scores_the_episode_when_the_agent_stops(tmp_path, site):
    path = save_tasks(tmp_path / "v.jsonl", {"id": "1", "ques": "Open page two", "web": f"{site.url}/"})
    (task,) = WebEnv.tasks("test", world="live", path=path)
    model = ScriptedJudge("The page is the second.\nSUCCESS", "Nothing was done.\nNOT SUCCESS")
    env = WebEnv(judge=WebJudge(model), config=WebConfig())
    for action, score in (("click [1]", 1.0), ("wait", 0.0)):
        env.reset(options={"task": task})
        env.step(action)
        _, reward, terminated, _, info = env.step("stop [It is open]")
        assert (reward, terminated, info["score"], info["success"]) == (score, True, score, score == 1.0)
    env.close()
    assert "1. click [1]\n2. stop [It is open]" in model.prompts[0]
    assert "heading 'Two' level 1" in model.prompts[0]
    assert "Answer: It is open" in model.prompts[0]


def test_verdicts_are_parsed_and_averaged(tmp_path):
    assert parse_verdict("I said SUCCESS at first.\nNOT SUCCESS") is False
    assert parse_verdict("NOT SUCCESS? No:\nSUCCESS") is True
    assert parse_verdict("UNSUCCESSFUL") is None
    path = save_tasks(tmp_path / "v.jsonl", {"id": "1", "ques": "x", "web": "https://a.example/"})
    (task,) = WebEnv.tasks("test", world="live", path=path)
    judge = WebJudge(ScriptedJudge("SUCCESS", "hm", "NOT SUCCESS", "SUCCESS", "SUCCESS"), JudgeConfig(votes=4))
    assert judge(task, [], "a") == 0.75
    with pytest.raises(InfraError, match="no verdict in 2 tries"):
        WebJudge(ScriptedJudge("hm", "hm"), JudgeConfig(max_tries=2))(task, [], "a")
