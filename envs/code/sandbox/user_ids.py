"""User ids for workers. The kernel counts many resources for a user: queued signals, message queues, pipes, watches.

So each worker gets an id of its own where that is possible, and no program can use up what another one needs.
"""

from __future__ import annotations

import secrets
from pathlib import Path

FREE_IDS = range(1_900_000_000, 2_100_000_000)
"""Ids that no user, service manager or container engine gives out. Random choice makes clashes unlikely."""
MAPPED_IDS = range(32_768, 65_534)
"""Ids to choose from in a user namespace, which usually holds 65,536 ids."""
MAPS = (Path("/proc/self/uid_map"), Path("/proc/self/gid_map"))


def choose_id(mapped: bool) -> int:
    """Return a random id, for use as a user id and a group id.

    Args:
        mapped: Whether only the ids of a usual user namespace exist.
    """
    return secrets.choice(MAPPED_IDS if mapped else FREE_IDS)


def is_mapped(maps: tuple[Path, ...] = MAPS) -> bool:
    """Return whether this process is in a user namespace that lacks some of `FREE_IDS`."""
    for path in maps:
        try:
            spans = [list(map(int, line.split())) for line in path.read_text().splitlines()]
        except OSError:
            return True
        if not any(first <= FREE_IDS[0] and FREE_IDS[-1] < first + count for first, _, count in spans):
            return True
    return False
