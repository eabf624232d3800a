"""Waits for downloads and describes them. No file is kept."""

from __future__ import annotations

import asyncio
import contextlib

from playwright.async_api import Download
from playwright.async_api import Error as PlaywrightError

from .tab import Tab


async def download_note(tab: Tab, download: Download, limit: int, seconds: float) -> str:
    """Wait for a download, delete its file and return a note for the agent.

    Args:
        tab: The tab that it began in.
        download: The download.
        limit: Maximum size in bytes; a larger download is cancelled.
        seconds: Time limit; a slower download is cancelled.
    """
    name = download.suggested_filename
    file = asyncio.ensure_future(_download_size(download))
    larger = asyncio.ensure_future(tab.wait_until_larger(download.url, limit))
    try:
        await asyncio.wait({file, larger}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        larger.cancel()
    done, large, size = file.done(), larger.done(), 0
    note = f"The download of {name!r} {'failed' if done else 'took too long and was given up'}."
    with contextlib.suppress(PlaywrightError, OSError):
        if large or not done:
            await download.cancel()
        size = await file
        note = f"Downloaded {name!r}, {size:,} bytes."
    return (
        f"The download of {name!r} is larger than {limit:,} bytes and was given up." if large or size > limit else note
    )


async def _download_size(download: Download) -> int:
    path = await download.path()
    size = path.stat().st_size
    await download.delete()
    return size
