"""Tasks on the live web, read from the published files of WebVoyager and Mind2Web-Live. A judge scores the episodes.

WebVoyager (He et al., 2024): one JSON object per line with `id`, `ques` and `web`. Mind2Web-Live (Pan et al., 2024): a
JSON array, or one object per line, with `index`, `task` and the pages of `evaluation`; the task starts on the site of
the first page. Nothing is downloaded: the user provides the file and selects the hosts (`WebConfig.hosts`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

from ....errors import UsageError
from ...core import Task, TaskSet
from ...reading import parse_json, read_text
from ..hosts import AllowedHosts
from ..session import Session
from .core import Judge, LoggedAction, Scenario, Status, World

ENV_ID = "kintsugi/Web-v0"


class Live(World):
    """All tasks of a file. Every split has the same tasks, with the same ids."""

    name: ClassVar[str] = "live"

    @classmethod
    def tasks(cls, split: str, n: int | None, seed: int, path: str = "", **params: Any) -> TaskSet:
        """Return the tasks of a file.

        Args:
            split: Any name; the tasks are the same for every split.
            n: Number of tasks to draw without replacement; None, or more than the file has, for all tasks.
            seed: Seed of the draw.
            path: Path of a JSON or JSONL file.
            **params: None are accepted.

        Raises:
            UsageError: If the file cannot be read, or an entry is not a task.
        """
        if params or not path:
            problem = f"unknown parameter {min(params)!r}" if params else "path is missing"
            raise UsageError(f"{problem}; live tasks take path=FILE, a task file of WebVoyager or Mind2Web-Live")
        entries = _entries(Path(path))
        tasks = TaskSet(_task(entry, number, split, path) for number, entry in enumerate(entries, start=1))
        return tasks if n is None or n >= len(tasks) else tasks.sample(n, seed)

    @classmethod
    def scenario(cls, task: Task, hosts: Sequence[str], judge: Judge | None) -> Scenario:
        """Create the scenario; raise `UsageError` without a judge, or if the host of the first page is not allowed."""
        return LiveScenario(task, hosts, judge)


def _entries(path: Path) -> list[Any]:
    try:
        text = read_text(path)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"cannot read live tasks from {path} ({error}); give the path of a JSON or JSONL file"
        ) from None
    try:
        whole = parse_json(text)
        found = whole if isinstance(whole, list) else [whole]
    except ValueError:
        found = _lines(path, text)
    if not found:
        raise UsageError(f"{path} holds no live task; expected a JSON array of tasks, or one JSON object per line")
    return found


def _lines(path: Path, text: str) -> list[Any]:
    found = []
    for number, line in enumerate(text.split("\n"), start=1):
        try:
            found += [parse_json(line)] if line.strip() else []
        except ValueError as error:
            raise UsageError(f"{path}:{number}: not JSON ({error}); expected one task per line") from None
    return found


def _task(entry: Any, number: int, split: str, path: str) -> Task:
    try:
        goal = entry["ques"] if "ques" in entry else entry["task"]
        url = entry.get("web") or entry.get("website") or entry.get("url") or _first_page(entry["evaluation"])
        name = str(entry.get("id", entry.get("index", number)))
        if not (isinstance(goal, str) and goal and urlsplit(str(url)).hostname):
            raise ValueError(f"goal {goal!r}, address {url!r}")
    except (AttributeError, IndexError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise UsageError(
            f"{path}: entry {number} is not a task ({error!r}); expected the keys ques and web (WebVoyager), "
            "or task and evaluation (Mind2Web-Live)"
        ) from None
    kind = str(entry.get("web_name") or urlsplit(str(url)).hostname)
    params = {"world": "live", "type": kind, "goal": goal, "url": str(url)}
    return Task(f"live/{name}", ENV_ID, split, number, params)


def _first_page(evaluation: Sequence[Any]) -> str:
    """Return the front page of the site that the first condition of a Mind2Web-Live task names."""
    for condition in evaluation:
        parts = urlsplit(str(condition["content"].get("url", "")))
        if parts.hostname:
            return f"{parts.scheme}://{parts.netloc}/"
    raise ValueError("its evaluation contains no URL")


class LiveScenario(Scenario):
    """An episode on the live web."""

    def __init__(self, task: Task, hosts: Sequence[str], judge: Judge | None) -> None:
        if judge is None:
            raise UsageError(
                f"task {task.id!r} of the live web has no judge; pass one, such as "
                "WebEnv(judge=kintsugi.agents.judge.WebJudge(model))"
            )
        self.goal = str(task.params["goal"])
        self.hosts = AllowedHosts(tuple(hosts))
        self._judge, self._task, self._url = judge, task, str(task.params["url"])
        if not self.hosts.allows(self._url):
            raise UsageError(
                f"task {task.id!r} starts at {self._url}; allowed hosts: {', '.join(self.hosts.allowed) or 'none'}; "
                f"allow its host with WebEnv(config=WebConfig(hosts=({urlsplit(self._url).hostname!r},)))"
            )

    async def start(self, session: Session) -> None:
        """Open the first page."""
        await session.navigate(self._url)

    async def status(self, session: Session, answer: str | None, action_log: Sequence[LoggedAction]) -> Status:
        """Return a score of 0; the judge scores the episode after the agent stops."""
        return Status()

    def judge(self, answer: str, action_log: Sequence[LoggedAction]) -> Status:
        """Return the judge's score; a score of at least 0.5 is a success."""
        score = self._judge(self._task, action_log, answer)
        if not 0 <= score <= 1:
            raise UsageError(f"the judge of task {self._task.id!r} returned {score!r}; expected a score in [0, 1]")
        return Status(score, score >= 0.5)
