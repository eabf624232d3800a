"""Check of a stranger's chat template: rendering it must end soon and in little memory.

Transformers renders templates in a sandbox without access to Python, but nothing bounds their loops and products. The
check renders a few chats in a process with limits.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from typing import Any

from ...errors import UsageError

CPU_SECONDS = 5
"""Processor time for rendering all chats of the check, in seconds."""
MEMORY_BYTES = 1 << 30
"""Memory of the process that renders them, in bytes."""
_TOO_MUCH = 9
_CHILD = """
import json, resource, sys
request = json.load(sys.stdin)
for limit, value in ((resource.RLIMIT_CPU, request["seconds"]), (resource.RLIMIT_AS, request["bytes"])):
    hard = resource.getrlimit(limit)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(limit, (value, value))
try:
    from jinja2 import nodes
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        tags = {"generation"}

        def parse(self, parser):
            line = next(parser.stream).lineno
            body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
            return nodes.CallBlock(self.call_method("_same"), [], [], body).set_lineno(line)

        def _same(self, caller):
            return caller()

    def fail(message):
        raise ValueError(message)

    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])
    env.filters["tojson"] = lambda value, **options: json.dumps(value)
    env.globals.update(raise_exception=fail, strftime_now=lambda format: format)
    template = env.from_string(request["template"])
    size = 0
    for messages in request["chats"]:
        for prompt in (False, True):
            try:
                size += len(template.render(
                    messages=messages, tools=None, documents=None, add_generation_prompt=prompt, **request["special"]
                ))
            except MemoryError:
                raise
            except Exception:
                pass
    sys.exit(TOO_MUCH if size > 10_000_000 else 0)
except MemoryError:
    sys.exit(TOO_MUCH)
except Exception:
    # What is wrong with it otherwise is said where the template is used.
    sys.exit(0)
""".replace("TOO_MUCH", str(_TOO_MUCH))


def check_template(tokenizer: Any, name: str) -> None:
    """Raise `UsageError` if the chat template of a tokenizer takes too long or too much memory.

    Args:
        tokenizer: A Hugging Face tokenizer.
        name: Name of the model for the error message.
    """
    template = getattr(tokenizer, "chat_template", None)
    if isinstance(template, str) and not _ends(template, json.dumps(_plain(tokenizer.special_tokens_map))):
        raise UsageError(
            f"{name}: its chat template takes more than {CPU_SECONDS} s or {MEMORY_BYTES >> 20} MB to render a short "
            "chat; use a tokenizer with an ordinary template"
        )


def _plain(special: dict[str, Any]) -> dict[str, str]:
    return {key: str(value) for key, value in special.items() if isinstance(value, str)}


@functools.cache
def _ends(template: str, special: str) -> bool:
    roles = ("system", "user", "assistant", "user", "assistant", "user")
    messages = [{"role": role, "content": f"text {number}"} for number, role in enumerate(roles)]
    chats = [messages[first:end] for first in (0, 1) for end in range(first + 1, len(messages) + 1)]
    request = {"template": template, "chats": chats, "special": json.loads(special)}
    request |= {"seconds": CPU_SECONDS, "bytes": MEMORY_BYTES}
    try:
        done = subprocess.run(
            [sys.executable, "-c", _CHILD],
            input=json.dumps(request).encode(),
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=60,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode >= 0 and done.returncode != _TOO_MUCH
