"""Tests of view transitions and smooth scrolling in the real browser: the agent sees the end state."""

from __future__ import annotations

import pytest
from bad_site import html, play

pytestmark = pytest.mark.requires("chromium")


@pytest.mark.parametrize("screenshots", [False, True])
@pytest.mark.parametrize("target", ["document", "p"])
def test_a_view_transition_ends_at_once(opened, target, screenshots):
    env, _ = opened(
        f"<button onclick=\"const t = {target}.startViewTransition(() => (p.textContent = 'new'));"
        "t.finished.then(() => (p.textContent += ' and done'))\">Go</button>"
        "<button onclick=\"p.textContent += ' and clicked'\">Click</button><p id=p>old</p>",
        screenshots=screenshots,
    )
    assert play(env, "click [1]")[-1] == "text 'new and done'"
    assert play(env, "click [2]")[-1] == "text 'new and done and clicked'"


def test_a_view_transition_may_wait_for_page_time(opened):
    env, _ = opened(
        '<button onclick="document.startViewTransition({update: async () => {'
        "await new Promise(requestAnimationFrame); p.textContent = 'new' }})\">Go</button>"
        "<button onclick=\"onunhandledrejection = () => (p.textContent = 'rejected'); document.startViewTransition()\">"
        "None</button><p id=p>old</p>"
    )
    assert play(env, "click [1]")[-1] == "text 'new'"
    assert play(env, "click [2]")[-1] == "text 'new'"


def test_a_transition_between_pages_does_not_delay_clicks(opened, site):
    style = "<style>@view-transition { navigation: auto }</style>"
    site.pages["/next"] = html("Next", f"{style}<button onclick='p.textContent += 1'>Add</button><p id=p>0</p>")
    env, _ = opened(f"{style}<a href=/next>Next</a>")
    assert play(env, "click [1]", "click [1]", "click [1]")[-1] == "text '011'"


def test_a_failed_view_transition_is_not_waited_for(opened):
    env, _ = opened(
        '<button onclick="try { Document.prototype.startViewTransition.call(p, () => {}) }'
        " catch { p.textContent = 'refused' }\">Go</button><p id=p>old</p>"
    )
    observation = env.step("click [1]")[0]
    assert "text 'refused'" in observation
    assert "Note" not in observation


def test_smooth_scrolling_reaches_its_end_at_once(opened):
    env, _ = opened(
        "<style>html { scroll-behavior: smooth } div { position: fixed }</style>"
        "<div><button onclick=\"window.scrollTo({top: 2000, behavior: 'smooth'})\">Go</button>"
        "<button onclick='p.textContent = scrollY'>Where</button><p id=p></p></div><p style='height: 9000px'>Long</p>"
    )
    assert "text '2000'" in play(env, "click [1]", "click [2]")
