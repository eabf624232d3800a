"""Rendering of chat templates in a process with limits: a template may come from a stranger.

Transformers renders templates in a sandbox without access to Python, but nothing bounds their loops, products and
texts, and a template can wait for a chat of a certain length. So every chat is rendered by one helper process, which
ends when a chat takes too long or too much memory. The next chat starts a new one.
"""

from __future__ import annotations

import atexit
import datetime
import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Any

from ...errors import InfraError, UsageError
from .chat_format import DATE

CPU_SECONDS = 2
"""Processor time for rendering one chat, in seconds."""
MEMORY_BYTES = 1 << 30
"""Memory for rendering, in bytes."""
MAX_TEXT_CHARS = 20_000_000
"""Maximum length of a rendered chat, in characters."""
_CHILD = """
import datetime, json, os, resource, signal, sys
from transformers.utils import chat_template_utils
seconds, memory, chars = map(int, sys.argv[1:])

class Clock(datetime.datetime):
    today = ""

    @classmethod
    def now(cls, tz=None):
        return datetime.datetime.fromisoformat(cls.today)

# Templates ask for today's date with strftime_now, which reads this clock.
chat_template_utils.datetime = Clock
# What the imports take is not the template's.
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize() if os.path.exists("/proc") else 0
hard = resource.getrlimit(resource.RLIMIT_AS)[1]
limit = used + memory if hard == resource.RLIM_INFINITY else min(used + memory, hard)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
signal.signal(signal.SIGPROF, signal.SIG_DFL)
print("ready", flush=True)
for line in sys.stdin:
    request = json.loads(line)
    # The signal ends the process, also within one long operation.
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        Clock.today = request["date"]
        texts, _ = chat_template_utils.render_jinja_template([request["messages"]], **request["options"])
        answer = {"text": str(texts[0])}
    except MemoryError:
        os._exit(1)
    except Exception as error:
        answer = {"error": (str(error).strip() or type(error).__name__)[:300]}
    if len(answer.get("text", "")) > chars:
        os._exit(1)
    signal.setitimer(signal.ITIMER_PROF, 0)
    print(json.dumps(answer), flush=True)
"""


class _Renderer:
    """The helper process. All models of this process share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._child: subprocess.Popen[str] | None = None
        self._owner = 0
        self._refused: set[str] = set()

    def render(self, template: str, request: str) -> dict[str, str] | None:
        """Return the answer to a request, None if this template once took too long or too much memory."""
        with self._lock:
            if template in self._refused:
                return None
            child = self._started()
            assert child.stdin is not None
            assert child.stdout is not None
            try:
                child.stdin.write(request + "\n")
                child.stdin.flush()
                line = child.stdout.readline()
            except BrokenPipeError:
                line = ""
            except BaseException:
                # The answer to an interrupted request must not be taken for that to the next.
                self._stop()
                raise
            if line:
                return dict(json.loads(line))
            self._stop()
            self._refused.add(template)
            return None

    def _started(self) -> subprocess.Popen[str]:
        if self._child is not None and self._owner == os.getpid() and self._child.poll() is None:
            return self._child
        if self._owner == os.getpid():
            self._stop()
        self._child = subprocess.Popen(
            [sys.executable, "-c", _CHILD, *map(str, (CPU_SECONDS, MEMORY_BYTES, MAX_TEXT_CHARS))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            # An interrupt at the terminal is for the parent alone.
            start_new_session=True,
            text=True,
        )
        self._owner = os.getpid()
        assert self._child.stdout is not None
        if self._child.stdout.readline() != "ready\n":
            code = self._stop()
            raise InfraError(
                f"the helper process that renders chat templates ended at its start (exit code {code}); check that "
                "this machine has free memory and that transformers can be imported, then start again"
            )
        return self._child

    def _stop(self) -> int | None:
        child, self._child = self._child, None
        if child is None:
            return None
        child.kill()
        with child:
            return child.wait()

    def close(self) -> None:
        """End the helper process."""
        if self._owner == os.getpid():
            self._stop()


_RENDERER = _Renderer()
atexit.register(_RENDERER.close)


def render(
    template: str,
    messages: Sequence[dict[str, str]],
    *,
    special: dict[str, Any],
    generate: bool,
    name: str,
    date: str = DATE,
) -> str:
    """Render a chat as transformers does, with bounded time and memory, on a fixed day.

    Args:
        template: Source of the chat template.
        messages: The chat, with the keys `role` and `content`.
        special: `special_tokens_map` of the tokenizer.
        generate: Whether to end with the prompt for the next turn of the assistant.
        name: Name of the model for error messages.
        date: Today's date for the template, `YYYY-MM-DD`. `strftime_now` gives it. `date_string`, for which templates
            have defaults of their own, gives any but `DATE`.

    Raises:
        UsageError: The template rejects the chat, or takes too much.
        InfraError: The helper process does not start.
    """
    options = {**special, "chat_template": template, "add_generation_prompt": generate}
    if date != DATE:
        options["date_string"] = datetime.date.fromisoformat(date).strftime("%d %b %Y")
    request = {"messages": list(messages), "options": options, "date": date}
    answer = _RENDERER.render(template, json.dumps(request, default=str))
    if answer is None:
        raise UsageError(
            f"{name}: its chat template takes more than {CPU_SECONDS} s or {MEMORY_BYTES >> 20} MB to render a chat; "
            "use a tokenizer with an ordinary template"
        )
    if "error" in answer:
        problem = " ".join(answer["error"].encode("utf-8", "replace").decode().split())
        raise UsageError(f"{name}: the chat template rejects the chat: {problem}")
    return answer["text"]
