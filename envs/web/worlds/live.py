"""Tasks on the live web, read from the files that WebVoyager and Mind2Web-Live publish; a judge says how they went.

WebVoyager (He et al., 2024): one JSON object a line with `id`, `ques` and `web`. Mind2Web-Live (Pan et al., 2024): a
JSON array, or one object a line, with `index`, `task` and the pages of `evaluation`, the first of which says on which
site the task begins. Nothing is downloaded: the file is the user's, and so is the choice of hosts (`WebConfig.hosts`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

from ....errors import UsageError
from ...core import Task, TaskSet
from ..hosts import Hosts
from ..session import Session
from .core import Deed, Judge, Place, Standing, World

ENV_ID = "kintsugi/Web-v0"


class Live(World):
    """All tasks of a file, whatever the split is called: each is the same task in all of them, by its id."""

    name: ClassVar[str] = "live"

    @classmethod
    def tasks(cls, split: str, n: int | None, seed: int, path: str = "", **params: Any) -> TaskSet:
        """The tasks of the file at `path`, or `n` drawn of them where there are more.

        Raises `UsageError` for a file that cannot be read and, with its number, for an entry that is no task.
        """
        if params or not path:
            wrong = f"unknown parameter {min(params)!r}" if params else "there is no path"
            raise UsageError(f"{wrong}; live tasks take path, a file of WebVoyager's or Mind2Web-Live's")
        entries = _entries(Path(path))
        tasks = TaskSet(_task(entry, number, split, path) for number, entry in enumerate(entries, start=1))
        return tasks if n is None or n >= len(tasks) else tasks.sample(n, seed)

    @classmethod
    def place(cls, task: Task, hosts: Sequence[str], judge: Judge | None) -> Place:
        """The task's first page; raises `UsageError` where no judge was given or its host is not allowed."""
        return LivePlace(task, hosts, judge)


def _entries(path: Path) -> list[Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"cannot read live tasks from {path} ({error}); give the path of a JSON or JSONL file"
        ) from None
    try:
        whole = json.loads(text)
        return whole if isinstance(whole, list) else [whole]
    except ValueError:
        pass
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            found += [json.loads(line)] if line.strip() else []
        except ValueError as error:
            raise UsageError(f"{path}:{number}: not JSON ({error}); expected one task a line") from None
    return found


def _task(entry: Any, number: int, split: str, path: str) -> Task:
    try:
        goal = entry["ques"] if "ques" in entry else entry["task"]
        url = entry.get("web") or entry.get("website") or entry.get("url") or _first_page(entry["evaluation"])
        name = str(entry.get("id", entry.get("index", number)))
        if not (isinstance(goal, str) and goal and urlsplit(str(url)).hostname):
            raise ValueError(f"goal {goal!r}, address {url!r}")
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise UsageError(
            f"{path}: entry {number} is no task ({error!r}); expected ques and web (WebVoyager), "
            "or task and evaluation (Mind2Web-Live)"
        ) from None
    kind = str(entry.get("web_name") or urlsplit(str(url)).hostname)
    params = {"world": "live", "type": kind, "goal": goal, "url": str(url)}
    return Task(f"live/{name}", ENV_ID, split, number, params)


def _first_page(evaluation: Sequence[Any]) -> str:
    """The front page of the site that a Mind2Web-Live task is first checked on."""
    for check in evaluation:
        parts = urlsplit(str(check["content"].get("url", "")))
        if parts.hostname:
            return f"{parts.scheme}://{parts.netloc}/"
    raise ValueError("no page is named in its evaluation")


class LivePlace(Place):
    """One task on somebody's site."""

    def __init__(self, task: Task, hosts: Sequence[str], judge: Judge | None) -> None:
        if judge is None:
            raise UsageError(
                f"task {task.id!r} of the live web needs a judge: WebEnv(judge=WebJudge(model)), "
                "with kintsugi.agents.judge.WebJudge"
            )
        self.goal = str(task.params["goal"])
        self.hosts = Hosts(tuple(hosts))
        self._judge, self._task, self._url = judge, task, str(task.params["url"])
        if not self.hosts.allows(self._url):
            raise UsageError(
                f"task {task.id!r} begins at {self._url}; allowed hosts: {', '.join(self.hosts.allowed) or 'none'}; "
                f"name what may be visited: WebEnv(config=WebConfig(hosts=({urlsplit(self._url).hostname!r},)))"
            )

    async def enter(self, session: Session) -> None:
        """Open the first page."""
        await session.navigate(self._url)

    async def standing(self, session: Session, answer: str | None, deeds: Sequence[Deed]) -> Standing:
        """Unknown until the agent stops."""
        return Standing()

    def judged(self, answer: str, deeds: Sequence[Deed]) -> Standing:
        """What the judge says; raises what it raises."""
        score = self._judge(self._task, deeds, answer)
        if not 0 <= score <= 1:
            raise UsageError(f"the judge of task {self._task.id!r} gave {score!r}; expected a score in [0, 1]")
        return Standing(score, score >= 0.5)
