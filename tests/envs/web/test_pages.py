"""Tests of what an agent sees of pages and can do on them, in the real browser."""

from __future__ import annotations

import re

import pytest
from bad_site import html, play

pytestmark = pytest.mark.requires("chromium")


FORM = (
    "<form><label>Name <input required></label><label>Password <input type=password></label>"
    "<label>Age <input type=number value=3></label><label>Born <input type=date></label>"
    "<label>Tea <input type=checkbox checked></label><fieldset><legend>Size</legend>"
    "<label><input type=radio name=s>S</label><label><input type=radio name=s checked>M</label></fieldset>"
    "<label>Colour <select><option>red<option>blue<option disabled>grey</select></label>"
    "<label>Tags <select multiple><option>a<option>b<option>c</select></label>"
    "<label>Note <textarea>old</textarea></label><button disabled>Later</button>"
    "<div contenteditable role=textbox aria-label=Rich>rich</div></form>"
)


def test_every_kind_of_field_is_shown(opened):
    _, seen = opened(FORM)
    assert seen == [
        "[1] textbox 'Name' required",
        "[2] textbox 'Password'",
        "[3] spinbutton 'Age' value '3'",
        "[4] date field 'Born'",
        "[5] checkbox 'Tea' checked",
        "group 'Size'",
        "  [6] radio 'S' unchecked",
        "  [7] radio 'M' checked",
        "[8] combobox 'Colour' value 'red' options 'red', 'blue', 'grey'",
        "[9] listbox 'Tags' options 'a', 'b', 'c'",
        "[10] textbox 'Note' value 'old'",
        "[11] button 'Later' disabled",
        "[12] textbox 'Rich' value 'rich'",
    ]


def test_each_kind_of_field_can_be_filled(opened):
    env, _ = opened(FORM)
    seen = play(
        env,
        "type [1] [Zoë [x] 手]",
        "type [2] [secret]",
        "type [3] [42]",
        "type [4] [2026-05-20]",
        "click [5]",
        "click [6]",
        "select [8] [blue]",
        "select [9] [a] [c]",
        "type [10] [two\nlines]",
        "type [12] [new]",
    )
    assert seen[:4] == [
        "[1] textbox 'Name' value 'Zoë [x] 手' required",
        "[2] textbox 'Password' value '••••••'",
        "[3] spinbutton 'Age' value '42'",
        "[4] date field 'Born' value '2026-05-20'",
    ]
    assert seen[4:8] == [
        "[5] checkbox 'Tea' unchecked",
        "group 'Size'",
        "  [6] radio 'S' checked",
        "  [7] radio 'M' unchecked",
    ]
    assert seen[8:10] == [
        "[8] combobox 'Colour' value 'blue' options 'red', 'blue', 'grey'",
        "[9] listbox 'Tags' value 'a, c' options 'a', 'b', 'c'",
    ]
    assert seen[10:] == [
        "[10] textbox 'Note' value 'two lines'",
        "[11] button 'Later' disabled",
        "[12] textbox 'Rich' value 'new' focused",
    ]


def test_invalid_input_to_fields_is_refused(opened):
    env, _ = opened(FORM)
    refused = {
        "click [11]": "[11] is disabled",
        "select [8] [grey]": '[8]: it has no option "grey"; there are "red", "blue"',
        "select [8] [red] [blue]": "[8]: only one of its options can be chosen",
        "type [4] [tomorrow]": "[4] does not take 'tomorrow'; it wants a date like 2026-05-14",
    }
    for action, reason in refused.items():
        assert env.step(action)[4]["invalid"] == reason


def test_typing_sends_key_events_and_enter_submits(opened):
    env, _ = opened(
        "<form action=/two><input aria-label=q name=q value=old></form><p id=p></p><script>"
        "const q = document.querySelector('input'), said = [];"
        "for (const kind of ['keydown', 'keyup', 'input', 'change'])"
        " q.addEventListener(kind, (e) => {"
        "  said.push(kind[0] + kind[3] + (e.key ?? '')); p.textContent = said.join(' '); });"
        "</script>"
    )
    assert play(env, "type [1] [ab]")[1] == "text 'kda iu kua kdb iu kub'"
    assert env.step("type [1] [x] [submit]")[0].startswith("URL: http://site.test/two?q=x\n")
    assert env.step("back")[0].startswith("URL: http://site.test/page\n")
    assert env.step("forward")[0].startswith("URL: http://site.test/two?q=x\n")


def test_elements_keep_their_numbers(opened):
    env, seen = opened(
        "<ul id=l><li><button onclick='this.remove()'>A</button><li><button onclick=\"l.insertAdjacentHTML("
        "'afterbegin', '<li><button>New</button>')\">B</button></ul><input aria-label=t>"
    )
    assert seen == ["list", "  listitem", "    [1] button 'A'", "  listitem", "    [2] button 'B'", "[3] textbox 't'"]
    seen = play(env, "click [1]", "click [2]", "type [3] [x]")
    assert [line.strip() for line in seen if "[" in line] == [
        "[4] button 'New'",
        "[2] button 'B'",
        "[3] textbox 't' value 'x' focused",
    ]


def test_dialogs_are_shown_and_answered(opened):
    env, _ = opened(
        "<button onclick=\"p.textContent = confirm('Sure?') + ' ' + prompt('Name?', 'me')\">Ask</button><p id=p></p>"
        "<button onclick=\"alert('Hello'); p.textContent = 'after'\">Tell</button>"
    )
    assert play(env, "click [1]") == ["confirm dialog 'Sure?'", "[1] button 'OK'", "[2] button 'Cancel'"]
    assert env.step("goto [http://site.test/]")[4]["invalid"].startswith(
        "the page waits for its dialog to be closed: click [1] or"
    )
    assert play(env, "click [1]")[0] == "prompt dialog 'Name?'"
    assert play(env, "click [3]")[-1] == "[3] textbox value 'me' focused"
    assert play(env, "type [3] [you]")[-1] == "[3] textbox value 'you' focused"
    assert play(env, "press [Enter]")[1] == "text 'true you'"
    seen = play(env, "click [1]", "click [2]", "press [Escape]")
    assert seen[1] == "text 'false null'"
    assert play(env, "click [2]") == ["alert dialog 'Hello'", "[1] button 'OK'"]
    assert play(env, "click [1]")[1] == "text 'after'"
    env.step("click [1]")
    assert env.step("stop [right]")[1:3] == (1.0, True)


def test_windows_become_tabs(opened):
    env, _ = opened("<a href=/two target=_blank>Out</a><button onclick='window.open(\"/two\")'>Open</button>")
    observation, *_ = env.step("click [1]")
    assert observation.splitlines()[:3] == [
        "URL: http://site.test/two",
        "Title: Two",
        "Tabs: 0 'Page', 1 'Two' (this one)",
    ]
    assert env.step("switch_tab [0]")[0].splitlines()[2] == "Tabs: 0 'Page' (this one), 1 'Two'"
    assert env.step("click [2]")[0].splitlines()[2] == "Tabs: 0 'Page', 1 'Two', 2 'Two' (this one)"
    assert "switch_tab [1]" in env.step("wait")[4]["admissible"]
    assert "Tabs" in env.step("close_tab")[0]
    assert "Tabs" not in env.step("close_tab")[0]
    assert env.step("new_tab")[0].splitlines()[:2] == ["URL: about:blank", "Tabs: 0 'Page', 1 '' (this one)"]
    assert env.step("goto [site.test/two]")[0].splitlines()[0] == "URL: http://site.test/two"


def test_a_window_needs_a_click_and_a_named_window_is_reused(opened):
    env, seen = opened(
        '<button onclick=\'window.open("/two", "help")\'>Help</button><p id=p></p>'
        "<script>p.textContent = window.open('/two')</script>"
    )
    assert seen == ["[1] button 'Help'"]
    assert "Tabs: 0 'Page', 1 'Two' (this one)\n" in env.step("click [1]")[0]
    env.step("switch_tab [0]")
    assert "Tabs: 0 'Page'" in env.step("click [1]")[0]
    assert len(env._episode.session.tabs) == 2


def test_existing_frames_can_navigate_without_a_click(opened, site):
    site.pages["/inner"] = html("Inner", "<script>window.open('/two', 'side')</script>")
    env, seen = opened("<iframe name=side></iframe><iframe src=/inner></iframe><a href=/two>On</a>")
    assert "  heading 'Two' level 1" in seen
    play(env, "wait")
    assert len(env._episode.session.tabs) == 1


def test_frames_and_shadow_roots_are_part_of_the_page(opened, site):
    site.pages["/frame"] = html(
        "Inner", "<p style='height: 900px'>far</p><button onclick='this.textContent = \"Hit\"'>In</button>"
    )
    env, seen = opened(
        "<iframe src=/frame title=Same></iframe>"
        f"<iframe src=http://localhost:{site.port}/frame title=Other></iframe>"
        "<div id=h></div><script>for (const mode of ['open', 'closed']) { const d = document.createElement('div');"
        "h.append(d); d.attachShadow({mode}).innerHTML ="
        " `<button onclick='this.textContent = \"Hit\"'>${mode}</button>`; }</script>"
    )
    assert seen == [
        "iframe 'Same'", "  text 'far'", "  [1] button 'In'", "iframe 'Other'", "  text 'far'", "  [2] button 'In'",
        "[3] button 'open'", "[4] button 'closed'",
    ]  # fmt: skip
    seen = play(env, "click [1]", "click [2]", "click [3]", "click [4]")
    assert [line.strip() for line in seen if "button" in line] == [
        "[1] button 'Hit'", "[2] button 'Hit'", "[3] button 'Hit'", "[4] button 'Hit' focused",
    ]  # fmt: skip


def test_page_time_moves_only_with_the_steps(opened):
    env, seen = opened(
        "<p id=p></p><p id=q>waiting</p><script>p.textContent = [new Date().toISOString(), Math.random().toFixed(6),"
        "Intl.DateTimeFormat().resolvedOptions().timeZone, navigator.language].join(' ');"
        "setTimeout(() => q.textContent = 'after 2500 ms', 2500);</script>"
    )
    first = seen[0]
    assert first.startswith("text '2026-05-14T09:30:00.000Z 0.")
    assert first.endswith(" UTC en-US'")
    assert play(env, "wait")[1] == "text 'waiting'"
    assert play(env, "wait")[1] == "text 'after 2500 ms'"


def test_dates_and_random_bytes_are_deterministic(opened):
    """`Temporal` is checked only if the browser supports it."""
    body = (
        "<p id=p></p><p id=q></p><script>const say = new Intl.DateTimeFormat('en-GB', {dateStyle: 'medium'}), N = "
        "window.Temporal?.Now; p.textContent = [say.format(), say.formatToParts().map((x) => x.value).join(''),"
        "say.format(0), N?.plainDateISO() ?? '2026-05-14', N?.plainTimeISO('Asia/Tokyo') ?? '18:30:00',"
        "N?.zonedDateTimeISO() ?? '2026-05-14T09:30:00+00:00[UTC]'].map(String).join(' ');"
        "q.textContent = [crypto.getRandomValues(new Uint16Array(3)), crypto.randomUUID()].join(' ')</script>"
    )
    (_, first), (_, again) = opened(body), opened(body)
    assert first == again
    assert first[0] == ("text '14 May 2026 14 May 2026 1 Jan 1970 2026-05-14 18:30:00 2026-05-14T09:30:00+00:00[UTC]'")
    assert re.fullmatch(
        r"text '\d+,\d+,\d+ [0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}'", first[1]
    )


def test_a_step_ends_when_requests_and_animations_are_done(opened):
    env, _ = opened(
        "<button onclick=get()>Get</button><button onclick='n = 0; move()'>Move</button><p id=p></p><script>"
        "async function get() { const text = await (await fetch('/two')).text();"
        " setTimeout(() => p.textContent = text.length, 300); }"
        "function move() { p.textContent = ++n; if (n < 30) requestAnimationFrame(move); }</script>"
    )
    assert play(env, "click [1]")[-1] == "text '103'"
    assert play(env, "click [2]")[-1] == "text '30'"


def test_elements_outside_the_viewport_can_be_clicked(opened):
    body = "<button>Top</button><div style='height: 3000px'></div><button>Bottom</button>"
    env, seen = opened(body)
    assert seen == ["[1] button 'Top'", "[2] button 'Bottom'"]
    assert play(env, "click [2]") == ["[1] button 'Top'", "[2] button 'Bottom' focused"]


def test_long_pages_show_only_the_viewport(opened):
    from kintsugi.envs.web.view import View

    rows = "".join(f"<p><a href=/{i}>Link number {i}</a></p>" for i in range(500))
    env, seen = opened(rows, view=View(max_characters=2000))
    assert sum(map(len, seen)) < 2100
    assert seen[0] == "[1] link 'Link number 0'"
    assert len(seen) < 30
    later = play(env, "scroll [down]")
    assert "Link number 0'" not in later[0]
    assert later[0].startswith("[")
    env, seen = opened(
        "<button>Top</button><div style='height: 3000px'></div><button>Bottom</button>", view=View(full_page=False)
    )
    assert seen == ["[1] button 'Top'"]
    assert play(env, "scroll [down]") == []
    assert play(env, *["scroll [down]"] * 5) == ["[2] button 'Bottom'"]


def test_a_covering_element_gets_the_click_and_is_noted(opened):
    env, _ = opened(
        "<button onclick='document.title = \"hit\"'>Under</button>"
        "<div style='position: fixed; inset: 0' onclick='this.remove()' role=button aria-label=Cover></div>"
    )
    observation, *_ = env.step("click [1]")
    assert observation.startswith("Note: [1] is covered by [2] button 'Cover', which got the click.\n")
    assert "Title: hit" in env.step("click [1]")[0]


def test_a_link_that_spans_two_lines_can_be_clicked(opened):
    filled = "<span style='display: inline-block; width: 250px'>Before</span> "
    env, seen = opened(
        f"<p style='width: 300px'>{filled}<a href='#there' onclick='document.title = \"hit\"'>two words of it</a></p>"
    )
    assert "[1] link 'two words of it'" in seen
    assert "Title: hit" in env.step("click [1]")[0]


def test_elements_can_be_hovered_dragged_and_receive_keys(opened):
    env, _ = opened(
        "<style>#m { display: none; position: absolute; right: 0; bottom: 0 } #o:hover + #m { display: block }</style>"
        "<button id=o>Menu</button><p id=m>Open</p>"
        "<div id=d onmousedown='window.held = 1' role=button aria-label=From>x</div>"
        "<div onmouseup='this.textContent = \"dropped \" + window.held' role=button>To</div>"
        "<button onkeydown='this.textContent = event.key + event.ctrlKey'>Key</button>"
    )
    assert "text 'Open'" in play(env, "hover [1]")
    assert "[3] button 'dropped 1'" in play(env, "drag [2] [3]")
    env.step("click [4]")
    assert play(env, "press [ctrl+k]")[-1] == "[4] button 'ktrue' focused"


def test_clicks_hit_their_element_after_a_refused_drag(opened):
    env, _ = opened(
        "<button onclick='document.title = \"top\"'>Top</button>"
        "<button onclick='document.title = \"next\"'>Next</button>"
        "<div style='height: 3000px'></div><div role=button>Bottom</div>"
    )
    observation, _, _, _, info = env.step("drag [3] [1]")
    assert info["invalid"] == "[1] is out of view where [3] is in view, so the mouse cannot drag it there"
    assert "Title: Page" in observation
    assert "Title: top" in env.step("click [1]")[0]
    assert "Title: next" in env.step("click [2]")[0]


def test_a_dialog_of_a_loading_window_is_answered_by_the_agent(opened, site):
    site.pages["/asks"] = html("Asks", "<p id=p></p><script>p.textContent = `said ${confirm('Sure?')}`</script>")
    for number, answer in ((1, "true"), (2, "false")):
        env, _ = opened("<button onclick='window.open(\"/asks\")'>Open</button>")
        assert play(env, "click [1]")[0] == "confirm dialog 'Sure?'"
        assert play(env, f"click [{number}]")[-1] == f"text 'said {answer}'"


def test_a_table_has_one_line_per_row(opened):
    _, seen = opened("<table><tr><th>Name<th>Age<tr><td>Ann<td>7<tr><td><a href=/>Bob</a><td>8</table>")
    assert seen == [
        "table",
        "  row 'Name | Age'",
        "  row 'Ann | 7'",
        "  row",
        "    cell 'Bob'",
        "      [1] link 'Bob'",
        "    cell '8'",
    ]


def test_screenshots_and_marks_do_not_change_the_page(opened):
    import io

    from PIL import Image

    env, _ = opened("<button style='position: absolute; left: 40px; top: 60px; width: 80px; height: 30px'>Go</button>")
    before = play(env, "wait")
    plain, marked = (
        Image.open(io.BytesIO(data)).convert("RGB") for data in (env.screenshot(), env.marked_screenshot())
    )
    assert plain.size == marked.size == (1280, 720)
    changed = [
        (x, y) for x in range(1280) for y in range(720) if plain.getpixel((x, y)) != marked.getpixel((x, y))
    ]  # fmt: skip
    assert changed
    assert all(20 <= x <= 130 and 40 <= y <= 100 for x, y in changed)
    assert play(env, "wait") == before
    env.render_mode = "rgb_array"
    assert env.render().shape == (720, 1280, 3)
