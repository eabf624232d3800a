"""Tests of pages that turn against the browser's own functions, in the real browser: only their own episode may end."""

from __future__ import annotations

import pytest
from bad_site import html, task_at
from kintsugi.errors import InfraError

pytestmark = pytest.mark.requires("chromium")

BUTTON = "<button id=go onclick='p.textContent=\"Pressed\"'>Go</button><input id=q><p id=p>Text</p>"
OVERRIDES = {
    "Symbol.for": "Symbol.for = () => 'z'; globalThis.z = {settle: () => [true, 'x', 'y']}",
    "Symbol.for that throws": "Symbol.for = () => { throw new Error('no') }",
    "getElementsByTagName": "document.getElementsByTagName = () => ({length: 1e400})",
    "documentElement": "Object.defineProperty(document, 'documentElement', {get() { throw new Error('no') }})",
    "title": "Object.defineProperty(document, 'title', {get: () => ({toString: null})})",
    "readyState": "Object.defineProperty(document, 'readyState', {get: () => 'loading'})",
    "array methods": "for (const n of Object.getOwnPropertyNames(Array.prototype)) if (n != 'constructor' && n != "
    "'length')"
    " Array.prototype[n] = () => { throw new Error(n) }; Array.prototype[Symbol.iterator] = 1",
    "JSON": "JSON.stringify = JSON.parse = () => { throw new Error('no') }",
    "toJSON": "Object.prototype.toJSON = () => 'x'; Array.prototype.toJSON = () => NaN",
    "setters of all objects": "for (const n of ['value', 'get', 'set', 'detail', 'cancelable', 'length', 'type', "
    "'0', '1', '2'])"
    " Object.defineProperty(Object.prototype, n, {get() { return 7 }, set() { throw new Error(n) }, configurable: "
    "true})",
    "fields of all objects": "Object.prototype.get = Object.prototype.set = () => 1; Object.prototype.childList = 3;"
    " Object.prototype.then = (f) => f(1)",
    "Promise": "window.Promise = function () { return {then: 1} }",
    "promise methods": "Promise.prototype.then = () => { throw new Error('no') }; Promise.prototype.constructor = 1;"
    " Object.defineProperty(Promise, Symbol.species, {get() { throw new Error('no') }})",
    "promises that never end": "Promise.prototype.then = () => {}; Promise.prototype.constructor = class {}",
    "Map": "for (const n of ['get', 'set', 'values', 'delete', 'has']) Map.prototype[n] = () => { throw new Error(n) }",
    "clocks": "performance.now = () => NaN; Date.now = () => 'x'; window.performance = {}",
    "timers": "window.setTimeout = window.setInterval = window.requestAnimationFrame = () => { throw new Error('no') }",
    "MutationObserver": "MutationObserver.prototype.observe = () => { throw new Error('no') }; "
    "window.MutationObserver = 1",
    "MessagePort": "MessagePort.prototype.postMessage = () => {}; window.MessageChannel = 1",
    "events": "EventTarget.prototype.addEventListener = EventTarget.prototype.dispatchEvent = () => { throw new "
    "Error('no') };"
    " Event.prototype.preventDefault = 1; window.CustomEvent = window.Event = 1",
    "event details": "for (const n of ['type', 'detail']) Object.defineProperty(CustomEvent.prototype, n, {get: "
    "() => 'x'})",
    "Reflect, Object, Math": "Reflect.apply = Object.defineProperties = Math.max = Function.prototype.call ="
    " Function.prototype.apply = () => { throw new Error('no') }",
    "getters on window": "for (const n of ['Reflect', 'Object', 'Array', 'Math', 'Number', 'String', "
    "'CustomEvent', 'Promise',"
    " 'performance', 'reportError', 'globalThis', 'self']) Object.defineProperty(window, n, {get() { throw new "
    "Error(n) }})",
    "all that window has": "for (const n of Object.getOwnPropertyNames(window))"
    " if (n != 'location') try { window[n] = null } catch {}",
    "the prototype of document": "try { Object.setPrototypeOf(document, null) } catch {}",
    "methods of elements": "for (const n of ['focus', 'click', 'scrollBy', 'closest', 'matches', 'getAttribute', "
    "'dispatchEvent'])"
    " { Element.prototype[n] = HTMLElement.prototype[n] = HTMLInputElement.prototype[n] = () => { throw new "
    "Error(n) } }",
    "the value of fields": "Object.defineProperty(HTMLInputElement.prototype, 'value', {get: () => ({}), set() { "
    "throw 1 }});"
    " Object.defineProperty(HTMLInputElement.prototype, 'type', {get: () => 5})",
    "the kind of elements": "Object.defineProperty(Node.prototype, 'nodeType', {get: () => ({})});"
    " Object.defineProperty(window, 'HTMLInputElement', {value: 1})",
    "frozen": "Object.freeze(window.performance); Object.preventExtensions(Promise.prototype); "
    "Object.freeze(Object.prototype)",
    "errors without a description": "addEventListener('click', () => { throw Object.create(null) }); onerror = () "
    "=> { throw 1 }",
    "a window that closes itself": "window.close(); self.close()",
    "a stack overflow": "go.onclick = function f() { f() }",
    "timers that throw": "setInterval(() => { throw {toString() { throw 1 }} }, 1)",
    "document.open": "go.onclick = () => { document.open(); document.write('<p id=p>New'); document.close() }",
}
"""Scripts of pages whose episode goes on, by what they replace."""
BODIES = {
    "images named like methods": "".join(
        f"<img name={name} id={name}>"
        for name in ("getElementsByTagName", "addEventListener", "dispatchEvent", "createTreeWalker", "body", "head")
    ),
    "forms named like methods": "".join(
        f"<form name={name} id={name}><input name=focus><input name=localName></form>"
        for name in ("documentElement", "body", "title", "scrollingElement", "readyState", "defaultView")
    ),
    "frames named like methods": "<iframe name=performance></iframe><iframe name=EventTarget></iframe><iframe "
    "name=window></iframe>",
    "lone surrogates": "<script>document.title = '\\ud800'; go.textContent = 'A\\udfff'; q.value = '\\ud83d';"
    " go.title = '\\udc00'; q.placeholder = 'x\\ud800'; history.pushState(0, '', '/hostile#\\ud800')</script>",
    "control characters": "<script>document.title = go.textContent = q.value = "
    "'\\0\\x1b[2J\\u202e\\u2028\\x07'</script>",
    "a title of ten megabytes": "<script>document.title = 'x'.repeat(1e7); go.title = document.title</script>",
    "huge and missing numbers": "<div style='transform:matrix(1e308,0,0,1e308,1e308,1e308)'><button>Far</button></div>"
    "<progress value=1e308 max=NaN></progress><input type=number value=1e999><div role=slider aria-valuenow=NaN "
    "tabindex=0"
    " aria-valuemax=1e400>s</div><h1 aria-level=1e99>H</h1><td colspan=99999999>",
    "wrong ARIA": "<div role='button checkbox' aria-checked=maybe aria-expanded=7 aria-owns=self id=self "
    "tabindex=0>R</div>"
    "<div aria-labelledby=loop id=loop role=button tabindex=0>L</div><div role=heading aria-level=x>H</div>",
    "a console flood": "<script>for (let i = 0; i < 20000; i++) console.log('x'.repeat(1000) + i)</script>",
    "objects in the console": "<script>console.log(new Proxy({}, {get() { throw 1 }}), document.all, 10n, "
    "Symbol())</script>",
    "deep frames": "<script>let d = document; for (let i = 0; i < 12; i++) { const f = d.createElement('iframe');"
    " let box = d.body; for (let j = 0; j < 80; j++) { const g = d.createElement('section'); g.ariaLabel = 'g'; "
    "box.append(g);"
    " box = g } box.append(f); d = f.contentDocument }</script>",
    "a policy without scripts": "<iframe sandbox srcdoc='<button>In</button>'></iframe>"
    "<meta http-equiv=Content-Security-Policy content=\"script-src 'none'; sandbox\">",
    "frames that come and go": "<script>setInterval(() => { const f = document.createElement('iframe'); "
    "document.body.append(f);"
    " setTimeout(() => f.remove(), 3) }, 5)</script>",
    "an address of a megabyte": "<a href='data:text/html,x'>D</a><script>history.replaceState(0, '', '?' + "
    "'x'.repeat(1e6))</script>",
    "a page that prints": "<script>window.print()</script>",
    "an alert of a frame": "<iframe srcdoc='<script>alert(\"\\ud800\\0\".repeat(99))</script>'></iframe>",
    "a prompt": "<script>prompt('\\ud800', '\\udc00\\0')</script>",
    "a question before it is left": "<script>onbeforeunload = (e) => { e.preventDefault(); return 'x' }</script>",
    "endless requests": "<script>(function f() { new Image().src = '/none?' + Math.random(); setTimeout(f, 1) "
    "})()</script>",
    "a download with a strange name": "<a id=d download='..\\\\\\x01\\ud800/a' "
    "href='data:text/plain,x'>D</a><script>d.click()</script>",
}
"""Pages whose episode goes on."""
SLOW = {
    "an endless script when it is left": "<a href=/two>Two</a><script>onpagehide = () => { for (;;) ; }</script>",
    "an endless script when it is unloaded": "<a href=/two>Two</a><script>onunload = () => { for (;;) ; }</script>",
    "an endless script before it is left": "<a href=/two>Two</a><script>onbeforeunload = () => { for (;;) ; }</script>",
    "a synchronous request to a hanging server": "<script>const r = new XMLHttpRequest(); r.open('GET', '/hangs', "
    "false);"
    "r.send()</script><a href=/two>Two</a>",
    "a synchronous request at a click": "<button onclick=\"const r = new XMLHttpRequest(); r.open('GET', "
    "'/hangs', false);"
    'r.send()">Go</button>',
    "a million elements": "<a href=/two>Two</a>" + "<b>x</b>" * 1_000_000,
    "a million elements of a script": "<a href=/two>Two</a><script>document.body.append(...Array.from({length: 100},"
    " () => { const d = document.createElement('div'); d.innerHTML = '<i>x</i>'.repeat(10000); return d }))</script>",
    "microtasks without end": "<a href=/two>Two</a><script>(function f() { Promise.resolve().then(f) })()</script>",
}
"""Pages of which a note says that they keep the browser busy."""
BUSY = {
    "messages without end": "<a href=/two>Two</a><script>const c = new MessageChannel(); c.port1.onmessage = () =>"
    " { for (let i = 0; i < 1e6; i++); c.port2.postMessage(0) }; c.port2.postMessage(0)</script>",
    "nodes without end": "<a href=/two>Two</a><script>setInterval(() => document.body.append('x'), 0)</script>",
    "alerts of a worker": "<a href=/two>Two</a><script>new Worker(URL.createObjectURL(new Blob(["
    "'setInterval(() => postMessage(0), 20)']))).onmessage = () => alert(1)</script>",
    "an endless script of a worker's message": "<a href=/two>Two</a><script>new Worker(URL.createObjectURL(new Blob(["
    "'setTimeout(() => postMessage(0), 700)']))).onmessage = () => { for (;;) ; }</script>",
    "endless scripts of many messages": "<a href=/two>Two</a><script>new Worker(URL.createObjectURL(new Blob(["
    "'setInterval(() => postMessage(0), 50)']))).onmessage = () => { for (;;) ; }</script>",
    "a hung tab in the background": "<a href=/two>Two</a><button onclick=\"open('/two'); setTimeout(() => { for "
    '(;;) ; })">'
    "Open</button><script>go = document.querySelector('button'); new Worker(URL.createObjectURL(new Blob(["
    "'setInterval(() => postMessage(0), 2000)']))).onmessage = () => { for (;;) ; }</script>",
}
"""Pages whose scripts run at any time, also while the page is read."""


def survive(env, *actions):
    """Play actions, refused or not, and return the last observation."""
    observation, _ = env.reset(options={"task": task_at("/hostile")})
    for action in actions:
        observation += "\n" + env.step(action)[0]
    return observation


def assert_next_episode_works(env):
    assert "heading 'Home' level 1" in env.reset(options={"task": task_at("/")})[0]
    assert "heading 'Two'" in env.step("click [1]")[0]


@pytest.mark.parametrize("kind", OVERRIDES)
def test_functions_that_a_page_replaces_change_nothing(web, site, kind):
    site.pages["/hostile"] = html("Hostile", f"{BUTTON}<script>{OVERRIDES[kind]}</script>")
    env = web()
    observation = survive(env, "wait", "type [2] [abc]", "scroll [down]", "scroll [2] [down]", "click [1]")
    assert "button 'Go'" in observation or kind == "a window that closes itself"
    assert_next_episode_works(env)


@pytest.mark.parametrize("kind", BODIES)
def test_hostile_content_is_shown_or_noted(web, site, kind):
    site.pages["/hostile"] = html("Hostile", BUTTON + BODIES[kind])
    env = web(step_timeout=60.0)
    observation = survive(env, "click [1]", "type [2] [abc]", "click [3]", "wait", "goto [http://site.test/two]")
    assert "button" in observation or "too large to be laid out" in observation
    observation.encode()
    assert all(len(line) < 21_000 for line in observation.splitlines())
    assert_next_episode_works(env)


@pytest.mark.parametrize("kind", SLOW)
def test_a_page_that_keeps_the_browser_busy_is_noted(web, site, kind):
    site.pages["/hostile"] = html("Hostile", SLOW[kind])
    env = web(step_timeout=60.0)
    observation = survive(env, "click [1]", "wait")
    assert "Note: " in observation or "alert dialog" in observation
    assert_next_episode_works(env)


@pytest.mark.parametrize("kind", BUSY)
def test_a_page_whose_scripts_run_at_any_time_ends_at_most_its_own_episode(web, site, kind):
    site.pages["/hostile"] = html("Hostile", BUSY[kind])
    env = web(step_timeout=60.0)
    try:
        observation = survive(env, "wait", "click [2]", "wait", "click [1]", "wait")
        assert "Title: Two" in observation or "Note: " in observation or "dialog" in observation
    except InfraError as error:
        assert "the page does not answer" in str(error)  # noqa: PT017
    assert_next_episode_works(env)


def test_a_page_that_takes_all_memory_ends_at_most_its_own_episode(web, site):
    site.pages["/hostile"] = html("Hostile", "<script>const a = []; for (;;) a.push(new Array(1e6).fill(1.5))</script>")
    env = web()
    try:
        assert "Note: " in survive(env, "wait")
    except InfraError as error:
        assert "crashed" in str(error)  # noqa: PT017
    assert_next_episode_works(env)
