"""The protocol between host and worker. Both sides send frames: fixed headers, each followed by bytes."""

from __future__ import annotations

import struct

MAGIC = b"KTS1"
REQUEST = struct.Struct(">4sddIQI?")
"""Magic, wall time limit, idle time limit (0: none), CPU time limit, bytes kept of each output, number of files to
return, and whether the program has a channel. The payload follows."""
FRAME = struct.Struct(">cQ")
"""Kind and number of bytes that follow.

From the host: Q request, C bytes for the program's channel, K kill the program. From the worker: H hello, C bytes of
the program's channel, O stdout, E stderr, N file name, F file content, R result.
"""
RESULT = struct.Struct(">idB")
"""Exit code or negative signal number, seconds, flags."""
TIMED_OUT, OOM, TRUNCATED, UNCLEAN, IDLE = 1, 2, 4, 8, 16
"""Flags of a result. After `UNCLEAN`, the worker must not be used again."""
