// Runs in every document before its own scripts. Provides a clock that stops between steps, seeded random numbers, and
// waits until the page is idle when `tab.py` asks for it. Python replaces __START__ (milliseconds since 1970), __SEED__ and
// __CHANNEL__, the name of the events that carry the questions and the answers between this script and `tab.py`, which
// runs in a world of its own. Workers and time stamps of events keep the real clock.
(() => {
  const key = "__CHANNEL__";
  // The window object of an initial empty document is kept when the document is replaced, but not its listeners.
  if (window[key]) return void window[key]();

  // Scripts of the page may replace every function that they can reach. What is used later is therefore kept here.
  const { Promise, CustomEvent, Number, String, reportError } = window;
  // `document.open` removes the listeners of the window and of the document, but not these.
  const target = performance;
  const { max } = Math;
  const { apply } = Reflect;
  const { defineProperties } = Object;
  const method = (prototype, name) => Function.prototype.call.bind(prototype[name]);
  const getter = (prototype, name) =>
    Function.prototype.call.bind(Object.getOwnPropertyDescriptor(prototype, name).get);
  const [listen, dispatch] = ["addEventListener", "dispatchEvent"].map((name) => method(EventTarget.prototype, name));
  const accept = method(Event.prototype, "preventDefault");
  const detail = getter(CustomEvent.prototype, "detail");
  const readyState = getter(Document.prototype, "readyState");
  const fixed = (value) => ({ __proto__: null, value });
  const { then } = Promise.prototype;
  // Own properties, so that `await` does not look for them in what the page may have changed.
  const kept = (promise) => defineProperties(promise, { __proto__: null, then: fixed(then), constructor: fixed() });

  // WebRTC sends past the proxy that enforces the allow-list, and opens sockets before it sends.
  for (const name of ["RTCPeerConnection", "webkitRTCPeerConnection"]) delete window[name];

  const start = __START__;
  const real = { setTimeout: window.setTimeout.bind(window), now: performance.now.bind(performance) };
  const RealDate = Date;
  const timers = { __proto__: null };
  let now = 0;
  let lastId = 0;
  let running = 0;
  let mutations = 0;
  let pending = 0;
  let background = 0;
  let changed = () => {};

  // Each reading advances the clock by a microsecond, so that a script that polls it in a loop ends.
  const read = () => (now += 0.001);

  function PageDate(...parts) {
    if (!new.target) return new PageDate().toString();
    return Reflect.construct(RealDate, parts.length ? parts : [Math.floor(start + read())], new.target);
  }
  PageDate.prototype = RealDate.prototype;
  Object.setPrototypeOf(PageDate, RealDate);
  PageDate.now = () => Math.floor(start + read());
  Object.defineProperty(PageDate, "name", { value: "Date" });
  Object.defineProperty(PageDate, "length", { value: 7 });
  Object.defineProperty(RealDate.prototype, "constructor", { value: PageDate, writable: true, configurable: true });
  window.Date = PageDate;
  performance.now = () => read();
  Object.defineProperty(performance, "timeOrigin", { get: () => start });

  const RealFormat = Intl.DateTimeFormat.prototype;
  const format = Object.getOwnPropertyDescriptor(RealFormat, "format").get;
  const parts = RealFormat.formatToParts;
  Object.defineProperty(RealFormat, "format", {
    get() {
      const bound = Reflect.apply(format, this, []);
      return (date) => bound(date === undefined ? PageDate.now() : date);
    },
  });
  RealFormat.formatToParts = function formatToParts(date) {
    return Reflect.apply(parts, this, [date === undefined ? PageDate.now() : date]);
  };
  if (window.Temporal) {
    const Now = Temporal.Now;
    Now.instant = () => Temporal.Instant.fromEpochMilliseconds(PageDate.now());
    Now.zonedDateTimeISO = (zone = Now.timeZoneId()) => Now.instant().toZonedDateTimeISO(zone);
    for (const kind of ["PlainDate", "PlainTime", "PlainDateTime"])
      Now[`p${kind.slice(1)}ISO`] = (zone) => Now.zonedDateTimeISO(zone)[`to${kind}`]();
  }

  // Mulberry32.
  function chance(state) {
    return () => {
      state = (state + 0x6d2b79f5) | 0;
      let t = Math.imul(state ^ (state >>> 15), 1 | state);
      t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
      return (t ^ (t >>> 14)) >>> 0;
    };
  }
  const drawn = chance(__SEED__);
  Math.random = () => drawn() / 4294967296;
  // A separate generator, so that Math.random gives the same numbers whether or not the page uses crypto.
  const byte = chance(~__SEED__);
  const realValues = crypto.getRandomValues.bind(crypto);
  crypto.getRandomValues = function getRandomValues(array) {
    realValues(array);
    new Uint8Array(array.buffer, array.byteOffset, array.byteLength).forEach((_, i, all) => (all[i] = byte()));
    return array;
  };
  if (crypto.randomUUID)
    crypto.randomUUID = function randomUUID() {
      const all = crypto.getRandomValues(new Uint8Array(16));
      all[6] = (all[6] & 0x0f) | 0x40;
      all[8] = (all[8] & 0x3f) | 0x80;
      const hex = [...all].map((b) => b.toString(16).padStart(2, "0")).join("");
      return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
    };

  // One window per user gesture, as in a browser with windows; headless Chromium would open all of them.
  const open = window.open;
  const opened = new Map();
  const contains = (view, name) => {
    try {
      if (view.name === name) return true;
    } catch {
      // The frame belongs to another site.
    }
    return Array.from(view, (_, i) => view[i]).some((inner) => contains(inner, name));
  };
  const windowExists = (name) =>
    ["_self", "_parent", "_top"].includes(name.toLowerCase()) ||
    contains(window.top, name) ||
    opened.get(name)?.closed === false;
  window.open = function (...values) {
    const name = (values[1] === undefined ? "" : String(values[1])) || "_blank";
    if (!windowExists(name) && !navigator.userActivation.isActive) return null;
    const view = Reflect.apply(open, window, values);
    if (view) opened.set(name.toLowerCase() === "_blank" ? "" : name, view);
    return view;
  };

  // The time that a dialog stays open does not count against the page's time limit.
  let dialogTime = 0;
  const clock = () => real.now() - dialogTime;
  for (const name of ["alert", "confirm", "prompt"]) {
    const ask = window[name];
    window[name] = function (...values) {
      const since = real.now();
      try {
        return Reflect.apply(ask, window, values);
      } finally {
        dialogTime += real.now() - since;
      }
    };
  }

  function schedule(call, delay, every) {
    const id = ++lastId;
    const wait = max(every === null ? 0 : 1, Number(delay) || 0);
    timers[id] = { at: now + wait, id, call, every: every === null ? null : wait };
    return id;
  }
  const called = (action, values) => () =>
    typeof action === "function" ? apply(action, window, values) : (0, eval)(String(action));
  window.setTimeout = (action, delay, ...values) => schedule(called(action, values), delay, null);
  window.setInterval = (action, delay, ...values) => schedule(called(action, values), delay, 1);
  window.requestAnimationFrame = (action) => schedule(() => action(now), 16 - (now % 16), null);
  window.requestIdleCallback = (action) =>
    schedule(() => action({ didTimeout: false, timeRemaining: () => 50 }), 1, null);
  for (const name of ["clearTimeout", "clearInterval", "cancelAnimationFrame", "cancelIdleCallback"])
    window[name] = (id) => void delete timers[Number(id)];

  function due(stop) {
    let first = null;
    for (const id in timers) {
      const timer = timers[id];
      if (timer.at <= stop && (!first || timer.at < first.at || (timer.at === first.at && timer.id < first.id)))
        first = timer;
    }
    return first;
  }
  function fire(timer) {
    now = max(now, timer.at);
    if (timer.every === null) delete timers[timer.id];
    else timer.at = now + timer.every;
    try {
      timer.call();
    } catch (error) {
      reportError(error);
    }
  }

  const begun = () => void (pending += 1);
  const ended = () => {
    if (background > 0 && pending <= background) background -= 1;
    pending -= 1;
    changed();
  };
  const tracked = (promise) => {
    begun();
    apply(then, promise, [ended, ended]);
    return promise;
  };
  if (window.fetch) {
    const fetched = window.fetch;
    window.fetch = function fetch(...values) {
      return tracked(Reflect.apply(fetched, window, values));
    };
    for (const name of ["arrayBuffer", "blob", "formData", "json", "text"]) {
      const body = Response.prototype[name];
      Response.prototype[name] = function (...values) {
        const read = Reflect.apply(body, this, values);
        // Only responses with a URL come from a server; others depend on the page alone.
        return this.url ? tracked(read) : read;
      };
    }
  }
  // Skip view transitions: a page cannot be clicked during one, and in a hidden page it may never end. Wait until the
  // update callback is called, but not until it is done, because it may wait for page time.
  for (const { prototype } of [Document, Element]) {
    const start = prototype.startViewTransition;
    if (start)
      prototype.startViewTransition = function startViewTransition(given, ...rest) {
        const update = typeof given === "function" ? given : given?.update;
        const waits = typeof update === "function";
        let called = null;
        const watched = () => (called(), update());
        if (waits) given = given === update ? watched : { ...given, update: watched };
        const transition = Reflect.apply(start, this, arguments.length ? [given, ...rest] : []);
        if (waits) tracked(new Promise((resolve) => (called = resolve)));
        transition.skipTransition();
        transition.ready.catch(() => {});
        return transition;
      };
  }
  addEventListener("pagereveal", (event) => event.viewTransition?.skipTransition());
  const send = XMLHttpRequest.prototype.send;
  XMLHttpRequest.prototype.send = function (...values) {
    begun();
    this.addEventListener("loadend", ended, { once: true });
    try {
      return Reflect.apply(send, this, values);
    } catch (error) {
      this.removeEventListener("loadend", ended);
      ended();
      throw error;
    }
  };

  const watcher = new MutationObserver((records) => void (mutations += records.length));
  const observe = watcher.observe.bind(watcher);
  const proceeded = () => changed();
  // Repeated calls have no effect in the same document. They are needed because the initial empty document of a new
  // window is replaced while its window object is kept.
  const watch = () => {
    observe(document, { __proto__: null, subtree: true, childList: true, attributes: true, characterData: true });
    listen(document, "readystatechange", proceeded);
  };
  watch();

  const channel = new MessageChannel();
  const post = channel.port2.postMessage.bind(channel.port2);
  const waiting = { __proto__: null };
  let sent = 0;
  let received = 0;
  channel.port1.onmessage = () => {
    const resolve = waiting[received];
    delete waiting[received++];
    resolve();
  };
  const turn = () =>
    kept(
      new Promise((resolve) => {
        waiting[sent++] = resolve;
        post(0);
      }),
    );
  const busy = () => readyState(document) === "loading" || pending > background;
  const change = (milliseconds) =>
    kept(
      new Promise((resolve) => {
        changed = resolve;
        real.setTimeout(resolve, milliseconds);
      }),
    );

  // Let `budget` milliseconds of page time pass, run the timers that are due, and wait until the page is idle: no
  // request of a script is pending, and two turns of the event loop change no node. Page time stops while the page
  // waits for a server, so that timeouts of scripts do not expire. Return whether it became idle within `patience` real
  // milliseconds. Requests still pending then are not waited for again; timers continue.
  async function settle(budget, patience) {
    const mine = ++running;
    const stop = now + budget;
    let end = clock() + patience;
    let late = false;
    watch();
    for (;;) {
      const seen = mutations;
      await turn();
      await turn();
      if (mine !== running) return true;
      if (busy() && !late) {
        if (clock() < end) {
          await change(end - clock());
          continue;
        }
        late = true;
        background = pending;
        end += 500;
      }
      if (clock() > end) break;
      const timer = due(stop);
      if (timer) fire(timer);
      else if (seen === mutations) {
        now = max(now, stop);
        return !late;
      }
    }
    now = max(now, stop);
    background = pending;
    return false;
  }
  const answer = async (budget, patience, question) => {
    const idle = await kept(settle(budget, patience));
    dispatch(target, new CustomEvent(key, { __proto__: null, detail: [question, idle] }));
  };
  const asked = (event) => {
    const values = detail(event);
    // Answers have two values.
    if (values?.length !== 3) return;
    accept(event);
    answer(values[0], values[1], values[2]);
  };
  const serve = () => listen(target, key, asked);
  serve();
  Object.defineProperty(window, key, { value: serve });
})();
