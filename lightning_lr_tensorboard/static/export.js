// The buttons of a chart: copy as CSV, save as SVG or PNG, show everything.

import { html } from "./dom.js";
import { theme } from "./colors.js";

const PNG_SCALE = 2;

export function addTools(chart) {
  const status = html("span", { class: "done", role: "status" });
  const say = (text) => {
    status.textContent = text;
    setTimeout(() => (status.textContent = ""), 2500);
  };
  const button = (label, title, action) => html("button", { type: "button", title, onclick: action }, label);
  chart.element.append(
    html(
      "figcaption",
      {},
      button("Copy CSV", "Copy the points that are shown as CSV", async () => say(await copy(csvOf(chart)))),
      button("SVG", "Save the chart as SVG", () => save(svgOf(chart), "image/svg+xml", `${chart.options.name}.svg`)),
      button("PNG", "Save the chart as PNG", async () => saveBlob(await pngOf(chart), `${chart.options.name}.png`)),
      button("Show all", "Undo the zoom (drag in the chart to zoom; double-click or Escape to undo)", () => chart.options.onZoom(null)),
      status,
    ),
  );
}

export function csvOf(chart) {
  const { xLabel, yLabel } = chart.options;
  const rows = [["name", xLabel, yLabel]];
  for (const series of chart.content.series) {
    const { xs = series.x } = series;
    series.y.forEach((y, i) => {
      if (y !== null) rows.push([series.label ?? series.name, xs[i], y]);
    });
  }
  return rows.map((row) => row.map(quoted).join(",")).join("\n") + "\n";
}

function quoted(value) {
  let text = String(value);
  if (typeof value === "string" && /^[=+\-@]/.test(text)) text = `'${text}`; // a spreadsheet would take it for a formula
  return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

export function svgOf(chart) {
  const copy = chart.plot.cloneNode(true);
  copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  const background = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  for (const [key, value] of Object.entries({ width: "100%", height: "100%", fill: theme().page })) background.setAttribute(key, value);
  copy.prepend(background);
  return new XMLSerializer().serializeToString(copy);
}

export async function pngOf(chart) {
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svgOf(chart))}`;
  await image.decode();
  const canvas = html("canvas", { width: chart.size.width * PNG_SCALE, height: chart.size.height * PNG_SCALE });
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // without HTTPS there is no clipboard, but the old command works
    const area = html("textarea", { class: "offscreen" });
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    if (!done) return "The browser does not let this page copy.";
  }
  return "Copied.";
}

function save(text, type, name) {
  saveBlob(new Blob([text], { type }), name);
}

function saveBlob(blob, name) {
  const url = URL.createObjectURL(blob);
  const link = html("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
