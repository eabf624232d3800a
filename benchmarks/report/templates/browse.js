"use strict";

// Shared by the attempts and trees pages: texts loaded on demand, and a list that renders only its visible rows.
(() => {
  const { el } = kintsugi;
  const KEPT = 12;
  const HEIGHT = 54;

  /**
   * Return a function from an index to a promise of its value, read from the files `data/<name>-<n>.js`, which call
   * `kintsugi[name]`. `starts()` returns the index of the first value in each file. A page opened from disk may load scripts only.
   */
  kintsugi.chunks = (name, starts) => {
    const loaded = new Map();
    const waiting = new Map();

    kintsugi[name] = (chunk, values) => {
      loaded.set(chunk, values);
      for (const deliver of waiting.get(chunk) || []) deliver(values);
      waiting.delete(chunk);
      for (const old of loaded.keys()) {
        if (loaded.size <= KEPT) break;
        loaded.delete(old);
      }
    };

    function chunkOf(number) {
      let low = 0;
      let high = starts().length - 1;
      while (low < high) {
        const middle = Math.ceil((low + high) / 2);
        if (starts()[middle] <= number) low = middle;
        else high = middle - 1;
      }
      return low;
    }

    return (number) => {
      const chunk = chunkOf(number);
      const found = (values) => values[number - starts()[chunk]];
      if (loaded.has(chunk)) return Promise.resolve(found(loaded.get(chunk)));
      return new Promise((resolve, reject) => {
        const first = !waiting.has(chunk);
        waiting.set(chunk, [...(waiting.get(chunk) || []), (values) => resolve(found(values))]);
        if (!first) return;
        const failure = () => { waiting.delete(chunk); reject(new Error(`data/${name}-${chunk}.js could not be loaded`)); };
        const script = el("script", { src: `data/${name}-${chunk}.js`, onload: () => script.remove(), onerror: failure });
        document.head.append(script);
      });
    };
  };

  /**
   * Manage the list in `#list`. `count()` is its length, `chosen()` the selected position or -1, `choose(position)` selects,
   * and `option(position)` returns the id and children of a row.
   */
  kintsugi.list = ({ count, chosen, choose, option }) => {
    const list = document.getElementById("list");
    const canvas = document.getElementById("rows");

    function draw() {
      const first = Math.max(0, Math.floor(list.scrollTop / HEIGHT) - 4);
      const upto = Math.min(count(), Math.ceil((list.scrollTop + list.clientHeight) / HEIGHT) + 4);
      const at = chosen();
      const visible = [];
      for (let i = first; i < upto; i += 1) visible.push(i);
      if (at >= 0 && (at < first || at >= upto)) visible.push(at);
      canvas.style.height = `${count() * HEIGHT}px`;
      canvas.replaceChildren(...visible.map((i) => row(i, at)));
      list.setAttribute("aria-activedescendant", at >= 0 ? option(at).id : "");
    }

    function row(position, at) {
      const { id, children } = option(position);
      const node = el("div", {
        class: "row", role: "option", id, "aria-selected": String(position === at), "aria-setsize": count(),
        "aria-posinset": position + 1, onclick: () => choose(position),
      }, ...children);
      node.style.top = `${position * HEIGHT}px`;
      return node;
    }

    list.addEventListener("keydown", (event) => {
      const page = Math.max(1, Math.floor(list.clientHeight / HEIGHT) - 1);
      const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
      if (!(event.key in moves) || !count()) return;
      event.preventDefault();
      choose(Math.min(count() - 1, Math.max(0, chosen() + moves[event.key])));
    });
    list.addEventListener("scroll", draw, { passive: true });
    new ResizeObserver(draw).observe(list);

    return {
      /** Draw the list and scroll the selected row into view. */
      show() {
        const at = chosen();
        if (at >= 0 && at * HEIGHT < list.scrollTop) list.scrollTop = at * HEIGHT;
        else if ((at + 1) * HEIGHT > list.scrollTop + list.clientHeight) list.scrollTop = (at + 1) * HEIGHT - list.clientHeight;
        draw();
      },
      top() { list.scrollTop = 0; },
    };
  };
})();
