"""What moves: an agent sees where it ends, in the real browser."""

from __future__ import annotations

import pytest
from bad_site import done, html

pytestmark = pytest.mark.requires("chromium")


@pytest.mark.parametrize("screenshots", [False, True])
@pytest.mark.parametrize("of", ["document", "p"])
def test_a_view_transition_is_over_at_once(opened, of, screenshots):
    env, _ = opened(
        f"<button onclick=\"const t = {of}.startViewTransition(() => (p.textContent = 'new'));"
        "t.finished.then(() => (p.textContent += ' and done'))\">Go</button>"
        "<button onclick=\"p.textContent += ' and clicked'\">Click</button><p id=p>old</p>",
        screenshots=screenshots,
    )
    assert done(env, "click [1]")[-1] == "text 'new and done'"
    assert done(env, "click [2]")[-1] == "text 'new and done and clicked'"


def test_a_view_transition_may_wait_for_the_page_s_time(opened):
    env, _ = opened(
        '<button onclick="document.startViewTransition({update: async () => {'
        "await new Promise(requestAnimationFrame); p.textContent = 'new' }})\">Go</button>"
        "<button onclick=\"onunhandledrejection = () => (p.textContent = 'rejected'); document.startViewTransition()\">"
        "None</button><p id=p>old</p>"
    )
    assert done(env, "click [1]")[-1] == "text 'new'"
    assert done(env, "click [2]")[-1] == "text 'new'"


def test_a_transition_from_page_to_page_holds_nobody_up(opened, site):
    style = "<style>@view-transition { navigation: auto }</style>"
    site.pages["/next"] = html("Next", f"{style}<button onclick='p.textContent += 1'>Add</button><p id=p>0</p>")
    env, _ = opened(f"{style}<a href=/next>Next</a>")
    assert done(env, "click [1]", "click [1]", "click [1]")[-1] == "text '011'"


def test_a_view_transition_that_cannot_begin_holds_nobody_up(opened):
    env, _ = opened(
        '<button onclick="try { Document.prototype.startViewTransition.call(p, () => {}) }'
        " catch { p.textContent = 'refused' }\">Go</button><p id=p>old</p>"
    )
    seen = env.step("click [1]")[0]
    assert "text 'refused'" in seen
    assert "Note" not in seen


def test_a_page_that_scrolls_smoothly_is_where_it_scrolls_to(opened):
    env, _ = opened(
        "<style>html { scroll-behavior: smooth } div { position: fixed }</style>"
        "<div><button onclick=\"window.scrollTo({top: 2000, behavior: 'smooth'})\">Go</button>"
        "<button onclick='p.textContent = scrollY'>Where</button><p id=p></p></div><p style='height: 9000px'>Long</p>"
    )
    assert "text '2000'" in done(env, "click [1]", "click [2]")
