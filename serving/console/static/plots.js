// Charts of figures that stand in the page, by uPlot: lines with bands. What is refreshed keeps its chart. Drawing only.
"use strict";

const plots = new Map();
const told = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const clock = (s) => new Date(s * 1000).toLocaleTimeString("en-GB");
const short = (value) => (value == null ? "–" : Number(value.toPrecision(3)).toLocaleString("en"));

function tableOf(plot) {
  return [plot.at, ...plot.lines.flatMap((line) => (line.low.length ? [line.values, line.low, line.high] : [line.values]))];
}

function shapeOf(plot) {
  return JSON.stringify([plot.axis, plot.lines.map((line) => [line.label, line.low.length > 0])]);
}

function seriesOf(plot) {
  const series = [{ label: plot.axis_title, value: (u, at) => (at == null ? "" : plot.axis === "time" ? clock(at) : short(at)) }];
  const bands = [];
  for (const line of plot.lines) {
    const stroke = told(line.colour ? "--series-" + line.colour : "--faint");
    const value = (u, v, at, index) => short(index == null ? u.data[at].findLast((one) => one != null) : v) + plot.unit;
    series.push({ label: line.label, stroke, width: line.colour ? 2 : 1, dash: line.colour ? [] : [5, 5], value,
                  points: { show: plot.axis !== "time" && line.colour > 0, size: 5 } });
    if (line.low.length) {
      const edge = { class: "edge", stroke: "transparent", width: 0, points: { show: false } };
      series.push({ ...edge, label: line.label + ", low" }, { ...edge, label: line.label + ", high" });
      bands.push({ series: [series.length - 1, series.length - 2], fill: stroke + "33" });
    }
  }
  return { series, bands };
}

function optionsOf(plot, place) {
  const axis = { stroke: told("--faint"), grid: { stroke: told("--line"), width: 1 }, ticks: { show: false }, font: "11px system-ui, sans-serif" };
  const scale = plot.axis === "time" ? { time: true } : plot.axis === "log" ? { time: false, distr: 3 } : { time: false };
  const words = plot.axis === "time" ? { space: 70, size: 32, values: (u, at) => at.map(clock) } : { label: plot.axis_title, labelSize: 18, size: 32, labelFont: "11px system-ui, sans-serif" };
  return {
    width: Math.max(place.clientWidth, 120),
    height: 190,
    cursor: { y: false, points: { size: 6 }, drag: { x: false, y: false } },
    scales: { x: scale, ...(plot.span ? { y: { range: () => plot.span } } : {}) },
    axes: [{ ...axis, ...words }, { ...axis, size: 52 }],
    ...seriesOf(plot),
  };
}

function mount(root) {
  for (const place of root.querySelectorAll("[data-plot]")) {
    const plot = JSON.parse(place.dataset.plot);
    const held = plots.get(plot.name);
    if (held && held.shape === shapeOf(plot)) {
      if (held.place !== place) place.replaceWith(held.place);
      held.plot = plot;
      if (plot.span) held.chart.scales.y.range = () => plot.span;
      held.chart.setData(tableOf(plot));
    } else {
      if (held) held.chart.destroy();
      plots.set(plot.name, { place, plot, shape: shapeOf(plot), chart: new uPlot(optionsOf(plot, place), tableOf(plot), place) });
    }
  }
}

function again() {
  for (const held of plots.values()) {
    held.chart.destroy();
    held.chart = new uPlot(optionsOf(held.plot, held.place), tableOf(held.plot), held.place);
  }
}

mount(document);
document.addEventListener("roost:replaced", () => mount(document));
document.addEventListener("roost:theme", again);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
new ResizeObserver(() => {
  for (const { place, chart } of plots.values()) if (place.clientWidth) chart.setSize({ width: place.clientWidth, height: 190 });
}).observe(document.getElementById("content"));
