"""The protocol between host and worker. Requests and answers consist of fixed headers, each followed by bytes."""

from __future__ import annotations

import struct

MAGIC = b"KTS1"
REQUEST = struct.Struct(">4sQdIQI")
"""Magic, payload size, wall time limit, CPU time limit, bytes kept of each output, number of files to return."""
FRAME = struct.Struct(">cQ")
"""Kind (H hello, O stdout, E stderr, N file name, F file content, R result) and number of bytes that follow."""
RESULT = struct.Struct(">idB")
"""Exit code or negative signal number, seconds, flags."""
TIMED_OUT, OOM, TRUNCATED, UNCLEAN = 1, 2, 4, 8
"""Flags of a result. After `UNCLEAN`, the worker must not be used again."""
