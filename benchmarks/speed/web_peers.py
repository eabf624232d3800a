"""Play MiniWoB++ in BrowserGym or in the environment of the `miniwob` package, for the comparison in `web.py`.

Run it with a Python interpreter that has the peer installed: `python web_peers.py browsergym 0 1 CHROMIUM` (peer, its
default delays on or off, screenshots on or off). It reads lines of JSON, `["reset", page, seed]` or `["click", x, y]`,
and answers each with the milliseconds taken.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any


def browsergym(delays: bool, images: bool, chromium: str) -> tuple[Any, Any]:
    """Return `reset` and `click` of BrowserGym; without `images` it takes no screenshots."""
    import browsergym.core.env as core
    import browsergym.miniwob as tasks
    import miniwob
    import numpy as np
    from browsergym.core.action.highlevel import HighLevelActionSet
    from playwright.sync_api import BrowserType

    launch = BrowserType.launch
    # BrowserGym opens a second browser for its chat window, which would use Playwright's own Chromium.
    patched: Any = BrowserType
    patched.launch = lambda self, **given: launch(self, **{**given, "executable_path": chromium})

    if not images:
        blank = np.zeros((214, 332, 3), np.uint8)
        core.extract_screenshot = lambda page: blank
    by_name = {task.subdomain: task for task in tasks.ALL_MINIWOB_TASKS}
    url = (Path(miniwob.__file__).parent / "html/miniwob").as_uri() + "/"
    envs: dict[str, Any] = {}
    options: dict[str, Any] = {} if delays else {"slow_mo": 0, "pre_observation_delay": 0.0}

    def reset(page: str, seed: int) -> Any:
        if page not in envs:
            for env in envs.values():
                env.close()
            envs.clear()
            envs[page] = core.BrowserEnv(
                by_name[page],
                {"base_url": url},
                action_mapping=HighLevelActionSet(["coord"]).to_python_code,
                **options,
            )
        return envs[page].reset(seed=seed)

    def click(x: float, y: float) -> Any:
        return next(iter(envs.values())).step(f"mouse_click({x}, {y})")

    return reset, click


def selenium(delays: bool, images: bool, chromium: str) -> tuple[Any, Any]:
    """Return `reset` and `click` of the `miniwob` package. Starting its browser for a page is not timed."""
    import gymnasium
    import miniwob
    from miniwob.action import ActionTypes

    driver = shutil.which("chromedriver")
    if driver is None:
        sys.exit("chromedriver was not found; install Debian's package chromium-driver")
    os.environ |= {"MINIWOB_CHROME_BINARY": chromium, "MINIWOB_CHROMEDRIVER": driver}
    gymnasium.register_envs(miniwob)
    envs: dict[str, Any] = {}

    def reset(page: str, seed: int) -> Any:
        if page not in envs:
            for env in envs.values():
                env.close()
            envs.clear()
            envs[page] = gymnasium.make(f"miniwob/{page}-v1").unwrapped
            envs[page].reset(seed=seed)
        return envs[page].reset(seed=seed)

    def click(x: float, y: float) -> Any:
        env = next(iter(envs.values()))
        return env.step(env.create_action(ActionTypes.CLICK_COORDS, coords=(x, y)))

    return reset, click


def main() -> None:
    """Answer requests until the end of the input."""
    name, delays, images, chromium = sys.argv[1:]
    makers = {"browsergym": browsergym, "selenium": selenium}
    reset, click = makers[name](delays == "1", images == "1", chromium)
    verbs = {"reset": reset, "click": click}
    out = os.dup(1)
    os.dup2(2, 1)
    for line in sys.stdin:
        verb, *values = json.loads(line)
        start = time.perf_counter()
        verbs[verb](*values)
        os.write(out, (json.dumps(1000 * (time.perf_counter() - start)) + "\n").encode())


if __name__ == "__main__":
    main()
