"""What moves by itself: transitions and animations go with the page's time, in the real browser."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from webs import html

pytestmark = pytest.mark.requires("chromium")

MENU = (
    "<style>#menu { visibility: hidden; opacity: 0; transition: opacity .3s, visibility 0s .3s }"
    "#menu.open { visibility: visible; opacity: 1; transition: opacity .3s }</style>"
    "<button onclick='menu.classList.toggle(`open`)'>Menu</button><div id=menu><a href=/two>Two</a></div>"
)
SPIN = "<style>@keyframes spin { to { margin-left: 100px } } p { animation: spin 4s linear infinite }</style>"
CHAIN = (
    "<style>p { opacity: 1; transition: opacity .2s } p.out { opacity: 0 }</style><p id=p>There</p>"
    "<button onclick='p.className = `out`'>Away</button><ol id=o></ol><script>"
    "const say = (what) => (o.innerHTML += `<li>${what} ${Date.now() % 10000}`);"
    "p.ontransitionend = () => { say(p.className || 'in'); if (p.className) p.className = '' };"
    "p.ontransitionstart = () => setTimeout(() => say('timer'), 100)</script>"
)


def test_what_fades_is_over_at_the_end_of_a_step(shown):
    env, seen = shown(MENU)
    assert "link 'Two'" not in seen
    assert "link 'Two'" in env.step("click [1]")[0]
    assert "link 'Two'" not in env.step("click [1]")[0]


def test_what_lasts_longer_takes_its_steps(shown):
    env, _ = shown(MENU.replace("0s .3s", "0s 2.5s"))
    env.step("click [1]")
    seen = [env.step(action)[0] for action in ("click [1]", "wait", "wait")]
    assert ["link 'Two'" in observation for observation in seen] == [True, True, False]


def test_transitions_and_timers_come_in_their_order(shown):
    env, _ = shown(CHAIN)
    observation, *_ = env.step("click [1]")
    said = [line.split("'")[1].split() for line in observation.splitlines() if "listitem" in line]
    assert [what for what, _ in said] == ["timer", "out", "timer", "in"]
    first = int(said[0][1])
    assert [int(at) - first for _, at in said] == pytest.approx([0, 100, 200, 300], abs=20)


def where(env):
    return env.elements()[1].box.x


def test_what_never_ends_moves_by_the_step_and_not_in_between(shown):
    env, _ = shown(f"{SPIN}<p><button>Go</button></p>")
    places = [where(env)]
    for _ in range(5):
        time.sleep(0.2)
        env.step("wait")
        places.append(where(env))
    moved = [(after - before) % 100 for before, after in pairwise(places)]
    assert moved == pytest.approx([25] * 5, abs=0.5)


def test_in_a_frame_and_in_shadow_roots_as_well(shown, site):
    site.pages["/inner"] = html("Inner", MENU)
    within = MENU.replace("menu.class", "this.nextSibling.class").replace("`open`", "&quot;open&quot;")
    env, _ = shown(
        f"<iframe src=/inner></iframe><div id=host></div><script>host.attachShadow({{mode: 'closed'}}).innerHTML ="
        f" `{within}`</script><div><template shadowrootmode=open><section>{within}</section></template></div>"
    )
    buttons = [number for number, element in env.elements().items() if element.name == "Menu"]
    assert len(buttons) == 3
    clicked = [env.step(f"click [{number}]")[0].count("link 'Two'") for number in (*buttons, *buttons)]
    assert clicked == [1, 2, 3, 2, 1, 0]


def test_many_that_end_one_after_the_other_keep_nobody_waiting(shown):
    rows = "".join(f"<p style='animation: in .2s {n * 20}ms both'>Row {n}</p>" for n in range(30))
    _, seen = shown(f"<style>@keyframes in {{ from {{ opacity: 0 }} }}</style>{rows}", patience=5.0)
    assert "Row 29" in seen
    assert "Note" not in seen


def test_what_is_scrolled_paused_or_played_backwards_is_left_or_played(shown):
    _, seen = shown(
        "<p id=p>Old</p><div id=d>Box</div><script>const go = (options) => d.animate({opacity: [0, 1]}, options);"
        "const held = go(500); held.pause(); const still = go(500); still.playbackRate = 0;"
        "const back = go(500); back.reverse(); const none = go(0);"
        "const scrolled = go({duration: 1, timeline: new ScrollTimeline()});"
        "setTimeout(() => (p.textContent = [held, still, back, none, scrolled].map((a) => a.playState)), 900)</script>"
    )
    assert "text 'paused,running,finished,finished,running'" in seen
