"use strict";

// Draws the data of data/charts.js with plotly, in the page's colours (light or dark).
(() => {
  const { style } = kintsugi;
  const colours = () => ["--c1", "--c2", "--c3", "--c4", "--c5", "--c6"].map(style);
  const plotlyConfig = { displaylogo: false, responsive: true, modeBarButtons: [["toImage"]] };
  // plotly interprets some HTML in labels, so names are escaped.
  const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

  function layout(more) {
    const axis = { gridcolor: style("--line"), zerolinecolor: style("--line"), linecolor: style("--line"), automargin: true, fixedrange: true };
    return {
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: style("--sans"), color: style("--ink"), size: 13 },
      margin: { l: 56, r: 16, t: 12, b: 40 },
      hoverlabel: { bgcolor: style("--surface"), bordercolor: style("--gold"), font: { color: style("--ink") } },
      legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0, traceorder: "normal" },
      ...more,
      xaxis: { ...axis, ...(more.xaxis || {}) },
      yaxis: { ...axis, ...(more.yaxis || {}) },
    };
  }

  const share = { title: { text: "success, %" }, range: [-2, 102], tickvals: [0, 25, 50, 75, 100] };
  const bars = (points) => ({
    type: "data",
    symmetric: false,
    array: points.map((p) => p.high - p.value),
    arrayminus: points.map((p) => p.value - p.low),
    thickness: 1.6,
    width: 5,
  });
  const hover = "%{customdata[0]}<br>%{y:.1f} % (%{customdata[1]:.1f} … %{customdata[2]:.1f}), n = %{customdata[3]}<extra></extra>";
  const custom = (name, p) => [plain(name), p.low, p.high, p.n];

  function scores(node, { models }) {
    const places = models.map((_, i) => i);
    const traces = [{
      x: places, y: models.map((m) => m.value), mode: "lines+markers", hovertemplate: hover,
      customdata: models.map((m) => custom(m.name, m)),
      error_y: { ...bars(models), color: style("--ink") },
      line: { color: style("--gold"), width: 1.5, dash: "dot" },
      marker: { color: style("--gold"), size: 11, line: { color: style("--ink"), width: 1 } },
    }];
    const seeds = models.flatMap((m, i) => m.seeds.map(([seed, value]) => ({ place: i + 0.09, seed: plain(seed), value })));
    if (seeds.length) traces.push({
      x: seeds.map((s) => s.place), y: seeds.map((s) => s.value), mode: "markers",
      text: seeds.map((s) => s.seed), hovertemplate: "%{text}: %{y:.1f} %<extra></extra>",
      marker: { symbol: "circle-open", size: 8, color: style("--muted") },
    });
    node.style.maxWidth = `${220 + 170 * models.length}px`;
    const ticks = { tickvals: places, ticktext: models.map((m) => plain(m.name)), range: [-0.5, models.length - 0.5], zeroline: false };
    Plotly.react(node, traces, layout({ showlegend: false, yaxis: share, xaxis: { ...ticks, showgrid: false } }), plotlyConfig);
  }

  function types(node, { models }) {
    const kinds = [...new Set(models.flatMap((m) => Object.keys(m.types)))].sort();
    const palette = colours();
    const traces = models.map((m, i) => {
      const here = kinds.filter((kind) => Object.hasOwn(m.types, kind));
      const points = here.map((kind) => m.types[kind]);
      return {
        type: "bar", name: plain(m.name), x: here.map(plain), y: points.map((p) => p.value), hovertemplate: hover,
        customdata: points.map((p) => custom(m.name, p)),
        error_y: { ...bars(points), color: style("--muted"), thickness: 1, width: 3 },
        marker: { color: palette[i % palette.length] },
      };
    });
    node.style.maxWidth = `${160 + kinds.length * (60 + 34 * models.length)}px`;
    const more = { barmode: "group", bargap: 0.25, yaxis: share, xaxis: { type: "category", showgrid: false } };
    Plotly.react(node, traces, layout(more), plotlyConfig);
  }

  function timings(node, list) {
    const rest = (c) => Math.max(0, c.wall - c.model - c.env);
    const parts = [["model", (c) => c.model, "--gold"], ["environment", (c) => c.env, "--c2"], ["other", rest, "--c4"]];
    const traces = parts.map(([name, seconds, colour]) => ({
      type: "bar", orientation: "h", name, y: list.map((c) => plain(c.name)), x: list.map(seconds),
      hovertemplate: `%{y}: %{x:.1f} s ${name}<extra></extra>`, marker: { color: style(colour) },
    }));
    node.style.height = `${90 + 34 * list.length}px`;
    const more = { barmode: "stack", xaxis: { title: { text: "seconds" } }, yaxis: { type: "category", autorange: "reversed" } };
    Plotly.react(node, traces, layout(more), plotlyConfig);
  }

  kintsugi.charts = (data) => {
    const draw = () => {
      for (const node of document.querySelectorAll("[data-chart]")) {
        const kind = node.dataset.chart;
        if (kind === "timings") timings(node, data.timings);
        else (kind === "scores" ? scores : types)(node, data.tasksets[Number(node.dataset.index)]);
      }
    };
    draw();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  };
})();
