"use strict";

// The attempts page: filters, the list of matching attempts, and the selected attempt.
(() => {
  const { el } = kintsugi;
  const failed = (row) => row.outcome === "failure" || row.outcome === "truncated";
  const detail = document.getElementById("detail");
  const form = document.getElementById("filters");
  const load = kintsugi.chunks("chunk", () => state.starts);
  const list = kintsugi.list({
    count: () => state.shown.length,
    chosen: () => state.shown.indexOf(state.chosen),
    choose: (position) => choose(state.shown[position]),
    option: (position) => option(position),
  });
  const state = { rows: [], shown: [], starts: [], byTask: new Map(), chosen: -1, other: "" };

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

  const attempt = async (number) => ({ row: state.rows[number], text: await load(number) });

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
    state.other = wanted.get("other") || "";
  }

  function toAddress() {
    const params = new URLSearchParams();
    for (const name of names) if (form.elements[name].value) params.set(name, form.elements[name].value);
    if (state.chosen >= 0) params.set("attempt", state.chosen);
    if (state.other) params.set("other", state.other);
    history.replaceState(null, "", `#${params}`);
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
    if (!state.shown.includes(state.chosen)) {
      state.chosen = state.shown.length ? state.shown[0] : -1;
      state.other = "";
      list.top();
    }
    show();
  }

  // -- the list -----------------------------------------------------------------------------------------------

  function option(position) {
    const row = state.rows[state.shown[position]];
    const mark = mending.mended(row) ? "mended" : row.parents.length ? "mend" : "";
    return { id: `row-${row.number}`, children: [
      kintsugi.outcome(row.outcome), el("span", {}, row.goal || row.task), el("span", { class: "mending" }, mark),
      el("span", { class: "sub" }, `${row.stage} · ${row.task}#${row.sample}`),
    ] };
  }

  function choose(number) {
    state.chosen = number;
    state.other = "";
    show();
  }

  // -- the selected attempt -----------------------------------------------------------------------------------

  /** Attempts to compare with this one: its mends, the attempts it mends, then others at the same task. */
  function related(row) {
    const labelled = (number, how) => [number, `${how}: ${state.rows[number].stage} #${state.rows[number].sample}, ${kintsugi.outcomeWords(state.rows[number].outcome)}`];
    const mends = [...row.children].sort((a, b) => (state.rows[b].outcome === "success") - (state.rows[a].outcome === "success"));
    const near = new Set([row.number, ...mends, ...row.parents]);
    const others = state.byTask.get(row.task).filter((number) => !near.has(number)).slice(0, 200);
    return [...mends.map((n) => labelled(n, "mended by")), ...row.parents.map((n) => labelled(n, "mends")), ...others.map((n) => labelled(n, "same task"))];
  }

  let latest = 0;

  async function show() {
    list.show();
    toAddress();
    latest += 1;
    const turn = latest;
    if (state.chosen < 0) {
      detail.replaceChildren(el("p", { class: "empty" }, state.rows.length ? "No attempt matches these filters." : "This run has no attempts yet."));
      return;
    }
    const row = state.rows[state.chosen];
    const choices = related(row);
    const natural = row.children.length || row.parents.length ? choices[0][0] : null;
    const wanted = state.other === "" ? natural : choices.map((c) => c[0]).find((number) => String(number) === state.other) ?? null;
    try {
      const [chosen, other] = await Promise.all([attempt(row.number), wanted === null ? null : attempt(wanted)]);
      if (turn !== latest) return;
      detail.replaceChildren(...kintsugi.detail(chosen, other, choices, (value) => { state.other = value; show(); }));
      detail.scrollTop = 0;
    } catch (error) {
      if (turn === latest) detail.replaceChildren(el("p", { class: "note" }, `${error.message}; keep all files of the report in one folder.`));
    }
  }

  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  window.addEventListener("hashchange", () => { fromAddress(); filter(); });
})();
