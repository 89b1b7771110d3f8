// Time series by uPlot, asked for anew every two seconds. Drawing only: the figures come from the server.
"use strict";

const section = document.querySelector("[data-series]");
const LABELS = { p50: "half within", p99: "99 of 100 within" };
let charts = new Map();
let latest = null;

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function said(value, unit) {
  return value == null ? "–" : value.toFixed(value < 10 ? 1 : 0) + unit;
}

function optionsOf(place, keys, unit) {
  const axis = { stroke: colour("--faint"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "11px system-ui, sans-serif" };
  return {
    width: Math.max(place.clientWidth, 120),
    height: 180,
    cursor: { y: false, points: { size: 6 } },
    legend: { live: true },
    scales: { x: { time: true }, y: { range: (u, low, high) => [0, high > 0 ? high * 1.1 : 1] } },
    axes: [{ ...axis, space: 70, size: 32, values: (u, at) => at.map((s) => new Date(s * 1000).toLocaleTimeString("en-GB")) },
           { ...axis, size: 48 }],
    series: [{ label: "time", value: (u, s) => (s == null ? "" : new Date(s * 1000).toLocaleTimeString("en-GB")) },
             ...keys.map((key, at) => ({
               label: LABELS[key] || key, stroke: colour("--series-" + (at + 1)), width: 1.75, points: { show: false },
               value: (u, v, at, index) => said(index == null ? u.data[at].findLast((one) => one != null) : v, unit) }))],
  };
}

function draw(data) {
  latest = data;
  for (const place of section.querySelectorAll("[data-chart]")) {
    const name = place.dataset.chart;
    const keys = Object.keys(data[name]).filter((key) => data[name][key].some((value) => value));
    const table = [data.at_s, ...keys.map((key) => data[name][key])];
    const held = charts.get(name);
    if (!keys.length || data.at_s.length < 2) {
      if (held) { held.chart.destroy(); charts.delete(name); }
      place.classList.add("nothing");
      place.textContent = "Nothing measured yet";
    } else if (held && held.keys === keys.join()) {
      held.chart.setData(table);
    } else {
      if (held) held.chart.destroy();
      place.classList.remove("nothing");
      place.textContent = "";
      charts.set(name, { keys: keys.join(), chart: new uPlot(optionsOf(place, keys, name === "events" ? "" : " ms"), table, place) });
    }
  }
}

function again() {
  for (const { chart } of charts.values()) chart.destroy();
  charts = new Map();
  if (latest) draw(latest);
}

async function ask() {
  if (!document.hidden) {
    try {
      const answer = await fetch(section.dataset.series, { signal: AbortSignal.timeout(8000) });
      if (answer.ok) draw(await answer.json());
    } catch { /* the page says that the console does not answer */ }
  }
  setTimeout(ask, 2000);
}

document.addEventListener("roost:theme", again);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
new ResizeObserver(() => {
  for (const place of section.querySelectorAll("[data-chart]")) {
    const held = charts.get(place.dataset.chart);
    if (held && place.clientWidth) held.chart.setSize({ width: place.clientWidth, height: 180 });
  }
}).observe(section);
ask();
