"use strict";

// The list of attempts: filters, a list that draws only what is in view, and loading of texts chunk by chunk.
(() => {
  const { el } = kintsugi;
  const HEIGHT = 54;
  const KEPT = 12;
  const failed = (row) => row.outcome === "failure" || row.outcome === "truncated";
  const list = document.getElementById("list");
  const canvas = document.getElementById("rows");
  const detail = document.getElementById("detail");
  const form = document.getElementById("filters");
  const loaded = new Map();
  const waiting = new Map();
  const state = { rows: [], shown: [], starts: [], byTask: new Map(), chosen: -1, beside: "" };

  // -- data ---------------------------------------------------------------------------------------------------

  kintsugi.index = (data) => {
    state.starts = data.starts;
    state.rows = data.rows.map(([stage, task, outcome, steps, refused, sample, parents], number) => {
      const [id, type, goal] = data.tasks[task];
      return { number, stage: data.stages[stage], task: id, type, goal, outcome: data.outcomes[outcome], steps, refused, sample, parents, children: [] };
    });
    for (const row of state.rows) {
      for (const parent of row.parents) state.rows[parent].children.push(row.number);
      if (!state.byTask.has(row.task)) state.byTask.set(row.task, []);
      state.byTask.get(row.task).push(row.number);
    }
    options("stage", data.stages);
    options("type", [...new Set(data.tasks.map((task) => task[1]))].sort());
    fromAddress();
    filter();
  };

  kintsugi.chunk = (number, texts) => {
    loaded.set(number, texts);
    for (const told of waiting.get(number) || []) told(texts);
    waiting.delete(number);
    for (const old of loaded.keys()) {
      if (loaded.size <= KEPT) break;
      loaded.delete(old);
    }
  };

  function chunkOf(number) {
    let low = 0;
    let high = state.starts.length - 1;
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if (state.starts[middle] <= number) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** An attempt with its texts. Scripts are the one thing that a page from disk may load. */
  function attempt(number) {
    const chunk = chunkOf(number);
    const found = (texts) => ({ row: state.rows[number], text: texts[number - state.starts[chunk]] });
    if (loaded.has(chunk)) return Promise.resolve(found(loaded.get(chunk)));
    return new Promise((resolve, reject) => {
      const first = !waiting.has(chunk);
      waiting.set(chunk, [...(waiting.get(chunk) || []), (texts) => resolve(found(texts))]);
      if (!first) return;
      const failure = () => { waiting.delete(chunk); reject(new Error(`data/chunk-${chunk}.js could not be loaded`)); };
      const script = el("script", { src: `data/chunk-${chunk}.js`, onload: () => script.remove(), onerror: failure });
      document.head.append(script);
    });
  }

  // -- filters and address ------------------------------------------------------------------------------------

  function options(name, values) {
    form.elements[name].replaceChildren(el("option", { value: "" }, "any"), ...values.map((value) => el("option", { value }, value)));
  }

  const names = ["stage", "outcome", "type", "mending", "text"];

  function fromAddress() {
    const wanted = new URLSearchParams(location.hash.slice(1));
    for (const name of names) if (wanted.has(name)) form.elements[name].value = wanted.get(name);
    const number = Number(wanted.get("attempt") ?? -1);
    state.chosen = Number.isInteger(number) && number < state.rows.length ? number : -1;
    state.beside = wanted.get("beside") || "";
  }

  function toAddress() {
    const said = new URLSearchParams();
    for (const name of names) if (form.elements[name].value) said.set(name, form.elements[name].value);
    if (state.chosen >= 0) said.set("attempt", state.chosen);
    if (state.beside) said.set("beside", state.beside);
    history.replaceState(null, "", `#${said}`);
  }

  const mending = {
    mended: (row) => failed(row) && row.children.some((child) => state.rows[child].outcome === "success"),
    unmended: (row) => failed(row) && row.children.length > 0 && !mending.mended(row),
    passed: (row) => row.parents.length > 0 && row.outcome === "success",
    broken: (row) => row.parents.length > 0 && row.outcome !== "success",
  };

  function fits(row) {
    const { stage, outcome, type, mending: kind, text } = Object.fromEntries(names.map((name) => [name, form.elements[name].value]));
    const wanted = text.trim().toLowerCase();
    return (!stage || row.stage === stage)
      && (!outcome || row.outcome === outcome || (outcome === "failed" && failed(row)))
      && (!type || row.type === type)
      && (!kind || mending[kind](row))
      && (!wanted || row.task.toLowerCase().includes(wanted) || row.goal.toLowerCase().includes(wanted));
  }

  function filter() {
    state.shown = state.rows.filter(fits).map((row) => row.number);
    const all = state.rows.length.toLocaleString();
    document.getElementById("count").textContent = `${state.shown.length.toLocaleString()} of ${all} attempts`;
    canvas.style.height = `${state.shown.length * HEIGHT}px`;
    if (!state.shown.includes(state.chosen)) {
      state.chosen = state.shown.length ? state.shown[0] : -1;
      state.beside = "";
      list.scrollTop = 0;
    }
    show();
  }

  // -- the list -----------------------------------------------------------------------------------------------

  function draw() {
    const first = Math.max(0, Math.floor(list.scrollTop / HEIGHT) - 4);
    const upto = Math.min(state.shown.length, Math.ceil((list.scrollTop + list.clientHeight) / HEIGHT) + 4);
    const at = state.shown.indexOf(state.chosen);
    const visible = [];
    for (let i = first; i < upto; i += 1) visible.push(i);
    if (at >= 0 && (at < first || at >= upto)) visible.push(at);
    canvas.replaceChildren(...visible.map(option));
    list.setAttribute("aria-activedescendant", at >= 0 ? `row-${state.chosen}` : "");
  }

  function option(position) {
    const row = state.rows[state.shown[position]];
    const said = mending.mended(row) ? "mended" : row.parents.length ? "mends" : "";
    const node = el("div", {
      class: "row", role: "option", id: `row-${row.number}`, "aria-selected": String(row.number === state.chosen),
      "aria-setsize": state.shown.length, "aria-posinset": position + 1, onclick: () => choose(row.number),
    }, kintsugi.outcome(row.outcome), el("span", {}, row.goal || row.task), el("span", { class: "mending" }, said),
    el("span", { class: "sub" }, `${row.stage} · ${row.task}#${row.sample}`));
    node.style.top = `${position * HEIGHT}px`;
    return node;
  }

  function choose(number) {
    state.chosen = number;
    state.beside = "";
    show();
  }

  function reveal() {
    const at = state.shown.indexOf(state.chosen);
    if (at < 0) return;
    if (at * HEIGHT < list.scrollTop) list.scrollTop = at * HEIGHT;
    else if ((at + 1) * HEIGHT > list.scrollTop + list.clientHeight) list.scrollTop = (at + 1) * HEIGHT - list.clientHeight;
  }

  list.addEventListener("keydown", (event) => {
    const page = Math.max(1, Math.floor(list.clientHeight / HEIGHT) - 1);
    const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (!(event.key in moves) || !state.shown.length) return;
    event.preventDefault();
    const at = state.shown.indexOf(state.chosen) + moves[event.key];
    choose(state.shown[Math.min(state.shown.length - 1, Math.max(0, at))]);
  });

  // -- the chosen one -----------------------------------------------------------------------------------------

  /** What may stand beside an attempt: its mends, what it mends, and other attempts at the task, nearest first. */
  function related(row) {
    const said = (number, how) => [number, `${how}: ${state.rows[number].stage} #${state.rows[number].sample}, ${kintsugi.outcomeWords(state.rows[number].outcome)}`];
    const mends = [...row.children].sort((a, b) => (state.rows[b].outcome === "success") - (state.rows[a].outcome === "success"));
    const near = new Set([row.number, ...mends, ...row.parents]);
    const others = state.byTask.get(row.task).filter((number) => !near.has(number)).slice(0, 200);
    return [...mends.map((n) => said(n, "mend")), ...row.parents.map((n) => said(n, "mends")), ...others.map((n) => said(n, "same task"))];
  }

  let latest = 0;

  async function show() {
    reveal();
    draw();
    toAddress();
    latest += 1;
    const turn = latest;
    if (state.chosen < 0) {
      detail.replaceChildren(el("p", { class: "empty" }, state.rows.length ? "No attempt fits these filters." : "This run holds no attempts yet."));
      return;
    }
    const row = state.rows[state.chosen];
    const choices = related(row);
    const natural = row.children.length || row.parents.length ? choices[0][0] : null;
    const wanted = state.beside === "" ? natural : choices.map((c) => c[0]).find((number) => String(number) === state.beside) ?? null;
    try {
      const [chosen, other] = await Promise.all([attempt(row.number), wanted === null ? null : attempt(wanted)]);
      if (turn !== latest) return;
      detail.replaceChildren(...kintsugi.detail(chosen, other, choices, (value) => { state.beside = value; show(); }));
      detail.scrollTop = 0;
    } catch (error) {
      if (turn === latest) detail.replaceChildren(el("p", { class: "note" }, `${error.message}; keep the report's folder together.`));
    }
  }

  list.addEventListener("scroll", draw, { passive: true });
  new ResizeObserver(draw).observe(list);
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  window.addEventListener("hashchange", () => { fromAddress(); filter(); });
})();
