"""How host and worker talk: one request and its answer are a few fixed headers, each followed by bytes."""

from __future__ import annotations

import struct

MAGIC = b"KTS1"
REQUEST = struct.Struct(">4sQdIQI")
"""Magic, bytes of payload, seconds of wall time, seconds of CPU, bytes kept of each output, number of files wanted."""
FRAME = struct.Struct(">cQ")
"""Kind (H hello, O stdout, E stderr, N name of a file, F its content, R result) and number of bytes that follow."""
RESULT = struct.Struct(">idB")
"""Exit code or minus the signal, seconds, flags."""
TIMED_OUT, OOM, TRUNCATED, UNCLEAN = 1, 2, 4, 8
"""Flags of a result; after an unclean one, the worker must not be used again."""
