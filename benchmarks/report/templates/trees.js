"use strict";

// The trees page: a list, the selected tree, and its splices.
(() => {
  const { el } = kintsugi;
  const detail = document.getElementById("detail");
  const form = document.getElementById("filters");
  const names = ["stage", "kind", "text"];
  const state = { rows: [], shown: [], starts: [], chosen: -1, splice: -1, turn: 0 };
  const load = kintsugi.chunks("tree", () => state.starts);
  const list = kintsugi.list({
    count: () => state.shown.length,
    chosen: () => state.shown.indexOf(state.chosen),
    choose: (position) => { state.chosen = state.shown[position]; state.splice = -1; show(); },
    option: (position) => option(state.rows[state.shown[position]]),
  });
  const outcomes = {
    verified: "the environment answered as written",
    searched: "a new ending was searched from the cut",
    counterfactual: "the environment answered differently, and no new ending was found",
    unchecked: "used as written, not verified",
    infra_error: "infrastructure failure during the replay",
  };

  // -- data, filters, address ---------------------------------------------------------------------------------

  kintsugi.trees = (data) => {
    state.starts = data.starts;
    state.rows = data.rows.map(([stage, key, goal, nodes, ends, best, splices], number) =>
      ({ number, stage: data.stages[stage], key, goal, nodes, ends, best, splices }));
    form.elements.stage.replaceChildren(el("option", { value: "" }, "any"), ...data.stages.map((value) => el("option", { value }, value)));
    fromAddress();
    filter();
  };

  function fromAddress() {
    const wanted = new URLSearchParams(location.hash.slice(1));
    for (const name of names) if (wanted.has(name)) form.elements[name].value = wanted.get(name);
    state.chosen = Number(wanted.get("tree") ?? -1);
    state.splice = Number(wanted.get("splice") ?? -1);
  }

  function toAddress() {
    const params = new URLSearchParams();
    for (const name of names) if (form.elements[name].value) params.set(name, form.elements[name].value);
    if (state.chosen >= 0) params.set("tree", state.chosen);
    if (state.splice >= 0) params.set("splice", state.splice);
    history.replaceState(null, "", `#${params}`);
  }

  function filter() {
    const [stage, kind, text] = names.map((name) => form.elements[name].value.trim().toLowerCase());
    const kinds = { "": () => true, spliced: (row) => row.splices > 0, solved: (row) => row.best >= 1, unsolved: (row) => row.best < 1 };
    state.shown = state.rows.filter((row) => (!stage || row.stage.toLowerCase() === stage) && kinds[kind](row)
      && (!text || row.key.toLowerCase().includes(text) || row.goal.toLowerCase().includes(text))).map((row) => row.number);
    document.getElementById("count").textContent = `${state.shown.length.toLocaleString()} of ${state.rows.length.toLocaleString()} trees`;
    if (!state.shown.includes(state.chosen)) {
      state.chosen = state.shown.length ? state.shown[0] : -1;
      state.splice = -1;
      list.top();
    }
    show();
  }

  function option(row) {
    const label = row.splices ? `${row.splices} ${row.splices === 1 ? "splice" : "splices"}` : "";
    return { id: `tree-${row.number}`, children: [
      kintsugi.outcome(row.best >= 1 ? "success" : "truncated"), el("span", {}, row.goal || row.key), el("span", { class: "mending" }, label),
      el("span", { class: "sub" }, `${row.stage} · ${row.key} · ${row.nodes} nodes`),
    ] };
  }

  // -- the selected tree --------------------------------------------------------------------------------------

  async function show() {
    list.show();
    toAddress();
    state.turn += 1;
    const { turn } = state;
    if (state.chosen < 0) {
      detail.replaceChildren(el("p", { class: "empty" }, "No tree matches these filters."));
      return;
    }
    try {
      const tree = unpacked(await load(state.chosen));
      if (turn === state.turn) detail.replaceChildren(...article(state.rows[state.chosen], tree));
    } catch (error) {
      if (turn === state.turn) detail.replaceChildren(el("p", { class: "note" }, `${error.message}; keep all files of the report in one folder.`));
    }
  }

  function unpacked(tree) {
    const nodes = tree.nodes.map(([parent, thought, action, refused, seen, outcome, score, visits, value, estimate, drawn], number) =>
      ({ number, parent, thought, action, refused, seen, outcome, score, visits, value, estimate, drawn, children: [], depth: 0 }));
    for (const node of nodes.slice(1)) {
      nodes[node.parent].children.push(node);
      node.depth = nodes[node.parent].depth + 1;
    }
    return { ...tree, nodes };
  }

  function pathTo(nodes, number) {
    const path = [];
    for (let at = number; at >= 0; at = nodes[at].parent) path.unshift(at);
    return path;
  }

  /** The role of each node in a splice: on both paths, on the bad path before or after the cut, or on the good path. */
  function roles(tree, cut) {
    const found = new Map();
    if (!cut) return found;
    const kept = new Set(pathTo(tree.nodes, cut.last));
    for (const number of pathTo(tree.nodes, cut.bad)) found.set(number, kept.has(number) ? "bad" : "dropped");
    const shared = pathTo(tree.nodes, cut.fork);
    for (const number of pathTo(tree.nodes, cut.good)) found.set(number, shared.includes(number) ? "shared" : "good");
    return found;
  }

  function article(row, tree) {
    const cut = tree.splices[state.splice];
    const fact = (name, value) => el("div", {}, el("dt", {}, name), el("dd", {}, value));
    const select = el("select", { onchange: (event) => { state.splice = Number(event.target.value); show(); } },
      el("option", { value: -1 }, "none"),
      ...tree.splices.map((each, i) => el("option", { value: i, selected: i === state.splice }, `${each.name}: node ${each.bad} to node ${each.good}, ${outcomes[each.how] || each.how}`)));
    return [
      el("h2", {}, row.goal || row.key),
      el("dl", { class: "facts" }, fact("tree", row.key), fact("stage", row.stage), fact("nodes", String(row.nodes)), fact("terminal nodes", String(row.ends)),
        fact("best score", String(row.best)), fact("model calls", tree.calls.toLocaleString()), fact("stopped by", tree.ended), fact("model", tree.model), fact("seed", tree.seed)),
      tree.error ? el("p", { class: "note" }, tree.error) : null,
      tree.splices.length ? el("p", { class: "compare" }, el("label", {}, "Splice: ", select)) : null,
      el("div", { class: "growth" }, ...growth(tree, cut)),
      ...(cut ? spliced(cut) : []),
    ].filter(Boolean);
  }

  // -- the tree view: keys as in ARIA's tree pattern ---------------------------------------------------------

  function growth(tree, cut) {
    const role = roles(tree, cut);
    const best = tree.nodes.filter((node) => node.outcome).sort((a, b) => b.score - a.score || a.number - b.number)[0];
    const wanted = cut ? [cut.bad, cut.good] : best ? [best.number] : [];
    const open = new Set(wanted.flatMap((number) => pathTo(tree.nodes, number)));
    const root = el("div", { class: "tree", role: "tree", "aria-label": "Search tree; right arrow expands, left arrow collapses" });
    const panel = el("div", { class: "node", "aria-live": "polite" });
    let chosen = cut ? cut.last : best ? best.number : 0;

    function visible() {
      const found = [];
      const waiting = [tree.nodes[0]];
      while (waiting.length) {
        const node = waiting.pop();
        found.push(node);
        if (open.has(node.number)) waiting.push(...[...node.children].reverse());
      }
      return found;
    }

    function line(node, siblings) {
      const expandable = node.children.length > 0;
      const item = el("div", {
        class: `branch ${role.get(node.number) || ""}`, role: "treeitem", id: `node-${node.number}`, "aria-level": node.depth + 1,
        "aria-setsize": siblings.length, "aria-posinset": siblings.indexOf(node) + 1,
        "aria-selected": String(node.number === chosen), "aria-expanded": expandable ? String(open.has(node.number)) : null,
        tabindex: node.number === chosen ? 0 : -1, onclick: () => { toggle(node, node.number === chosen); pick(node.number); },
      },
      el("span", { class: "twisty", "aria-hidden": "true" }, expandable ? (open.has(node.number) ? "▾" : "▸") : ""),
      node.outcome ? kintsugi.outcome(node.outcome) : null,
      el("span", { class: node.refused ? "did failure" : "did" }, node.parent < 0 ? "start" : node.action),
      el("span", { class: "worth" }, `${node.value.toFixed(2)} · ${node.visits}×`));
      item.style.setProperty("--depth", Math.min(node.depth, 30));
      item.style.setProperty("--worth", `${100 * Math.min(1, Math.max(0, node.value))}%`);
      return item;
    }

    function draw(focus) {
      const lines = [];
      for (const node of visible()) {
        lines.push(line(node, node.parent < 0 ? [node] : tree.nodes[node.parent].children));
        if (cut && node.number === cut.last) lines.push(seam(node.depth, cut.last === cut.bad));
      }
      root.replaceChildren(...lines);
      panel.replaceChildren(...facts(tree.nodes[chosen]));
      if (focus) document.getElementById(`node-${chosen}`).focus();
    }

    function toggle(node, either) {
      if (!open.has(node.number)) open.add(node.number);
      else if (either) open.delete(node.number);
    }

    function pick(number) {
      chosen = number;
      draw(true);
    }

    root.addEventListener("keydown", (event) => {
      const shown = visible();
      const at = shown.findIndex((node) => node.number === chosen);
      const node = shown[at];
      const moves = {
        ArrowDown: () => shown[Math.min(shown.length - 1, at + 1)].number,
        ArrowUp: () => shown[Math.max(0, at - 1)].number,
        Home: () => 0,
        End: () => shown[shown.length - 1].number,
        ArrowRight: () => { const was = open.has(node.number); open.add(node.number); return was && node.children.length ? node.children[0].number : node.number; },
        ArrowLeft: () => { if (open.has(node.number) && node.children.length) { open.delete(node.number); return node.number; } return Math.max(0, node.parent); },
        "*": () => { for (const each of node.parent < 0 ? [node] : tree.nodes[node.parent].children) open.add(each.number); return node.number; },
      };
      if (!(event.key in moves)) return;
      event.preventDefault();
      pick(moves[event.key]());
    });
    draw(false);
    return [root, panel];
  }

  function seam(depth, whole) {
    const label = whole ? "joined here: the whole bad path is kept" : "cut here: the rest of the bad path is dropped";
    const node = el("div", { class: "cut", role: "none" }, label);
    node.style.setProperty("--depth", Math.min(depth, 30));
    return node;
  }

  function facts(node) {
    const numbers = [`value ${node.value.toFixed(3)}`, `visits ${node.visits}`, `score ${node.score}`];
    if (node.estimate !== null) numbers.push(`estimate ${node.estimate.toFixed(3)}`);
    if (node.drawn > 1) numbers.push(`sampled ${node.drawn} times`);
    if (node.outcome) numbers.push(kintsugi.outcomeWords(node.outcome));
    return [
      el("p", { class: "sub" }, `node ${node.number}, turn ${node.depth}: ${numbers.join(" · ")}`),
      node.thought ? kintsugi.paragraph("thought", node.thought, "thought") : null,
      node.action ? kintsugi.paragraph("action", node.action, "action") : null,
      node.refused ? el("p", { class: "why failure" }, `refused: ${node.refused}`) : null,
      kintsugi.paragraph("obs", node.seen, "observation"),
    ].filter(Boolean);
  }

  // -- the splice as it was trained on ------------------------------------------------------------------------

  function spliced(cut) {
    const head = el("h3", {}, `The splice: ${outcomes[cut.how] || cut.how}`);
    const judgement = cut.judged ? `The verifier judged ${cut.judged} steps${cut.unparsed ? ` (${cut.unparsed} answers could not be parsed)` : ""}; ${cut.error_found ? "it judged the last one Bad." : "it judged none Bad, so the whole bad path is kept."}` : "The whole bad path is kept.";
    const note = el("p", { class: "hint" }, judgement);
    if (!cut.attempt) return [head, note, el("p", { class: "empty" }, "This splice is not trained on.")];
    const { steps, final, outcome } = cut.attempt;
    const grid = el("div", { class: "steps", role: "group", "aria-label": "Turns of the splice" });
    const first = steps.findIndex((step) => step[5]);
    steps.forEach((values, i) => {
      if (i === first) grid.append(kintsugi.seam("the cut: turns before it are context only, turns after it are trained on"));
      grid.append(kintsugi.step(values, i + 1));
    });
    grid.append(el("div", { class: "last" }, kintsugi.paragraph("obs", final, "last observation"), el("p", { class: outcome }, kintsugi.outcome(outcome), ` ${kintsugi.outcomeWords(outcome)}`)));
    return [head, note, grid];
  }

  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  window.addEventListener("hashchange", () => { fromAddress(); filter(); });
})();
