"use strict";

// Shows one attempt, or two side by side: the failed one on the left, the mended one on the right.
(() => {
  const { el } = kintsugi;
  const LONG = 900;
  const MANY = 120;
  const marks = { success: "✓", failure: "✗", truncated: "⋯", infra_error: "!" };
  const words = { success: "success", failure: "failure", truncated: "truncated", infra_error: "infrastructure failure" };
  const seam = "M0 8 L60 6 L110 11 L180 4 L236 9 L300 5 L352 10 L430 6 L500 8";

  kintsugi.outcome = (name) =>
    el("span", { class: `mark ${marks[name] ? name : ""}`, title: words[name] || name }, marks[name] || "?",
      el("span", { class: "visually-hidden" }, ` ${words[name] || name} `));
  kintsugi.outcomeWords = (name) => words[name] || name;

  /** A paragraph that shows the beginning of a long text and the rest on request. */
  function paragraph(kind, text, label) {
    const name = label ? el("span", { class: "visually-hidden" }, `${label}: `) : null;
    const node = el("p", { class: kind }, name);
    if (text.length <= LONG) {
      node.append(text);
      return node;
    }
    const rest = document.createTextNode(text.slice(0, LONG * 0.7) + "… ");
    const more = el("button", { type: "button", onclick: () => { rest.data = text; more.remove(); } },
      `show all ${text.length.toLocaleString()} characters`);
    node.append(rest, more);
    return node;
  }

  /** The screenshot of a step; a click opens it in full size. */
  function shown(picture, number) {
    const place = `data/pictures/${picture}`;
    return el("a", { class: "picture", href: place, target: "_blank" },
      el("img", { src: place, loading: "lazy", alt: `screenshot of step ${number}` }));
  }

  function step(values, number) {
    const [observation, thought, action, refused, reward, trainable, picture] = values;
    return el("div", { class: `step${refused ? " refused" : ""}${trainable ? "" : " masked"}`, role: "group", "aria-label": `step ${number}` },
      el("span", { class: "no", "aria-hidden": "true" }, String(number)),
      picture ? shown(picture, number) : null,
      paragraph("obs", observation, "observation"),
      thought ? paragraph("thought", thought, "thought") : null,
      paragraph("action", action, "action"),
      refused ? el("p", { class: "why" }, `refused: ${refused}`) : null,
      reward ? el("p", { class: "sub" }, `reward ${Number(reward.toPrecision(4))}`) : null,
      trainable ? null : el("p", { class: "sub" }, "no loss on this turn"));
  }

  kintsugi.paragraph = paragraph;
  kintsugi.step = step;

  function last(attempt) {
    const { row, text } = attempt;
    return el("div", { class: "last" },
      paragraph("obs", text.final, "last observation"),
      el("p", { class: row.outcome }, kintsugi.outcome(row.outcome), ` ${kintsugi.outcomeWords(row.outcome)}`),
      text.error ? el("p", { class: "sub" }, text.error) : null);
  }

  function head(attempt, gold) {
    const { row, text } = attempt;
    const label = text.reflection ? el("div", { class: "reflection" }, el("b", {}, "Reflection before this attempt"), text.reflection) : null;
    return el("div", { class: `head${gold ? " gold" : ""}` },
      el("strong", {}, kintsugi.outcome(row.outcome), ` ${row.stage} #${row.sample}`),
      el("span", { class: "sub" }, `${row.steps} steps, ${row.refused} refused · ${text.source} · ${text.model}`),
      label);
  }

  /** The index of the first step at which the observations or actions of two attempts differ. */
  function firstDifference(left, right) {
    const shorter = Math.min(left.length, right.length);
    for (let i = 0; i < shorter; i += 1) {
      if (left[i][0] !== right[i][0] || left[i][2] !== right[i][2]) return i;
    }
    return shorter;
  }

  /** A golden line with a label: where two attempts diverge, or where a splice was joined. */
  kintsugi.seam = (label) => {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("class", "seam");
    svg.setAttribute("viewBox", "0 0 500 14");
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("aria-hidden", "true");
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("d", seam);
    svg.append(path);
    return el("div", { class: "difference" }, label, svg);
  };

  const line = (at) => kintsugi.seam(at === 0 ? "different from the first step on" : `identical up to step ${at}, then different`);

  /** Steps of one or two attempts as grid rows; the first `MANY` at once, the rest on request. */
  function steps(columns) {
    const two = columns.length === 2;
    const grid = el("div", { class: `steps${two ? " two" : ""}`, role: "group", "aria-label": "Steps" });
    const part = two ? firstDifference(columns[0].text.steps, columns[1].text.steps) : -1;
    const longest = Math.max(...columns.map((c) => c.text.steps.length));
    columns.forEach((c, i) => grid.append(head(c, two && i === 1)));
    const fill = (from) => {
      const upto = Math.min(longest, from + MANY);
      for (let i = from; i < upto; i += 1) {
        if (i === part) grid.append(line(part));
        for (const c of columns) grid.append(cell(c, i));
      }
      if (upto < longest) {
        const more = el("button", { type: "button", onclick: () => { more.remove(); fill(upto); } }, `show ${longest - upto} more steps`);
        grid.append(more);
        return;
      }
      if (part === longest) grid.append(line(part));
      for (const c of columns) if (c.text.steps.length === longest) grid.append(last(c)); else grid.append(el("div", {}));
    };
    fill(0);
    return grid;
  }

  function cell(attempt, i) {
    const all = attempt.text.steps;
    if (i < all.length) return step(all[i], i + 1);
    return i === all.length ? last(attempt) : el("div", {});
  }

  function fact(name, value) {
    return el("div", {}, el("dt", {}, name), el("dd", {}, value));
  }

  /** Build the article for `chosen`, next to `other` if given; `related` are [row number, label] pairs to select from. */
  kintsugi.detail = (chosen, other, related, onSelect) => {
    const { row, text } = chosen;
    const pair = other ? [chosen, other].sort((a, b) => a.row.number - b.row.number) : [chosen];
    const select = el("select", { onchange: (event) => onSelect(event.target.value) },
      el("option", { value: "none" }, "nothing"),
      ...related.map(([number, label]) => el("option", { value: number, selected: Boolean(other) && other.row.number === number }, label)));
    return [
      el("h2", {}, row.goal || row.task),
      el("dl", { class: "facts" },
        fact("task", `${row.task} #${row.sample}`), fact("stage", row.stage), fact("type", row.type), fact("score", String(Number(text.score.toPrecision(4)))), fact("model", text.model), fact("seed", text.seed),
        fact("tokens", `${text.sampled.toLocaleString()} sampled, ${text.read.toLocaleString()} read`)),
      related.length ? el("p", { class: "compare" }, el("label", {}, "Compare with: ", select)) : null,
      steps(pair),
      el("details", {}, el("summary", {}, "Task parameters"), el("pre", { tabindex: 0 }, text.params)),
    ].filter(Boolean);
  };
})();
