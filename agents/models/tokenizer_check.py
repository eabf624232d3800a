"""Check of a stranger's tokenizer before it is used: reading it and encoding texts must end soon, in little memory.

A tokenizer is a program: its regular expressions and replacements can take exponential time or memory. A process with
limits loads it and encodes texts of many kinds, some of them made of the patterns that it replaces.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path

from ...errors import UsageError

CPU_SECONDS = 20
"""Processor time for loading the tokenizer and encoding all texts of the check, in seconds."""
MEMORY_BYTES = 4 << 30
"""Memory of the process that does it, in bytes."""
MAX_ADDED_TOKENS = 20_000
"""Maximum number of added tokens. Each slows down loading and encoding."""
_PANIC, _REFUSED = 4, 5
_CHILD = r"""
import json, os, resource, sys
folder, seconds, memory, most = sys.argv[1], *map(int, sys.argv[2:])
for kind, value in ((resource.RLIMIT_CPU, seconds), (resource.RLIMIT_AS, memory), (resource.RLIMIT_CORE, 0)):
    hard = resource.getrlimit(kind)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (value, value))

def read(name):
    try:
        with open(os.path.join(folder, name), encoding="utf-8") as stream:
            found = json.load(stream)
        return found if isinstance(found, dict) else {}
    except MemoryError:
        raise
    except Exception:
        # What is wrong with it otherwise is said where the tokenizer is loaded.
        return {}

def literals(value):
    if isinstance(value, dict):
        if isinstance(value.get("String"), str):
            yield value["String"]
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from literals(item)

def check():
    lists = [read("added_tokens.json"), *read("tokenizer_config.json").values()]
    # Transformers may prefer a file for its own version, such as tokenizer.5.0.json.
    files = [name for name in sorted(os.listdir(folder)) if name.startswith("tokenizer.") and name.endswith(".json")]
    read_files = {name: read(name) for name in files}
    lists += [data.get("added_tokens") for data in read_files.values()]
    added = max((len(each) for each in lists if isinstance(each, list | dict)), default=0)
    if added > most:
        print(f"it has {added:,} added tokens; expected at most {most:,}", flush=True)
        os._exit(REFUSED)
    for name, data in read_files.items():
        try:
            encode(name, data)
        except MemoryError:
            raise
        except Exception:
            # A tokenizer that cannot be read is reported where it is loaded.
            pass

def encode(name, data):
    from tokenizers import Tokenizer
    tokenizer = Tokenizer.from_file(os.path.join(folder, name))
    tokenizer.no_padding()
    parts = [data.get(part) for part in ("normalizer", "pre_tokenizer", "post_processor", "decoder")]
    ascii = "".join(map(chr, range(32, 127)))
    words = "The quick brown fox, aged 12.5, said: 'I don't know!' (He did.) {a: [1, 2]} www.x.org/a_b?c=d\n\n\t"
    texts = [c * 3000 for c in ascii + "\n\t"] + [ascii * 100, words * 100, words.replace(" ", "") * 100]
    texts += [pair * 3000 for pair in ("ab", "a b", "a1", " \n", "ABC abc 123 ")]
    texts += [c * 3000 + end for c in "a 1" for end in "!x9"]
    texts += ["\u00e9\u4e2d\u6587\u3042 \U0001f642\u0301\u0645" * 500]
    texts += [literal[:200] * (3000 // len(literal[:200])) for literal in [*literals(parts)][:200] if literal]
    for text in texts:
        try:
            ids = tokenizer.encode(text, add_special_tokens=False).ids
            tokenizer.decode(ids[:3000], skip_special_tokens=True)
        except MemoryError:
            raise
        except Exception:
            # A text that cannot be encoded costs nothing. Only time, memory and panics count here.
            pass

try:
    check()
except MemoryError:
    os._exit(9)
except Exception:
    # A damaged file is reported where the tokenizer is loaded.
    pass
except BaseException as error:
    # A panic of the library, which is written in Rust, is no Exception.
    print(str(error).replace(chr(10), " ")[:160], flush=True)
    os._exit(PANIC)
os._exit(0)
""".replace("PANIC", str(_PANIC)).replace("REFUSED", str(_REFUSED))


def check_tokenizer(folder: Path, name: str) -> None:
    """Raise `UsageError` if the tokenizer of a model folder takes too long or too much memory, or fails on a text.

    Args:
        folder: The model folder.
        name: Name of the model for the error message.
    """
    files = [*sorted(folder.glob("tokenizer*.json")), folder / "added_tokens.json"]
    key = tuple((file, file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.is_file())
    if key and (problem := _problem(folder, key)):
        raise UsageError(f"{name} has a tokenizer that cannot be used: {problem}; use an ordinary tokenizer")


@functools.cache
def _problem(folder: Path, key: object) -> str | None:
    """Return what is wrong with a tokenizer. The sizes and times of its files are only part of the cache key."""
    arguments = map(str, (folder, CPU_SECONDS, MEMORY_BYTES, MAX_ADDED_TOKENS))
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, *arguments],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            # Each further thread would count towards the memory limit.
            "TOKENIZERS_PARALLELISM": "false",
            "RAYON_NUM_THREADS": "1",
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        errors="replace",
        check=False,
    )
    said = done.stdout.strip()
    if done.returncode == 0:
        return None
    if done.returncode == _REFUSED:
        return said
    if done.returncode == _PANIC:
        return f"it fails on ordinary text ({said})"
    return (
        f"it takes more than {CPU_SECONDS} s or {MEMORY_BYTES >> 30} GB to encode texts of 3,000 characters (exit code "
        f"{done.returncode})"
    )
