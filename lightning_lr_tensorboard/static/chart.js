// A chart of lines. It draws SVG, so that what is saved is what is seen.

import { svg, html } from "./dom.js";
import { Scale, formatNumber, padded } from "./scale.js";
import { theme } from "./colors.js";
import { addCursor } from "./cursor.js";
import { addTools } from "./export.js";

const MARGIN = { left: 68, right: 16, top: 18, bottom: 42 };
const X_TICK_SPACING = 70;
const Y_TICK_SPACING = 26;
export const SHAPES = {
  circle: "M-5,0a5,5 0 1,0 10,0a5,5 0 1,0 -10,0Z",
  square: "M-4.5,-4.5H4.5V4.5H-4.5Z",
  up: "M0,-5.5L5.5,4.5H-5.5Z",
  down: "M0,5.5L5.5,-4.5H-5.5Z",
  diamond: "M0,-6L6,0L0,6L-6,0Z",
  star: "M0,-6.5L1.7,-2.2L6.2,-2L2.7,0.9L3.9,5.3L0,2.8L-3.9,5.3L-2.7,0.9L-6.2,-2L-1.7,-2.2Z",
  plus: "M-1.8,-5.5H1.8V-1.8H5.5V1.8H1.8V5.5H-1.8V1.8H-5.5V-1.8H-1.8Z",
  cross: "M-4,-5.5L0,-1.5L4,-5.5L5.5,-4L1.5,0L5.5,4L4,5.5L0,1.5L-4,5.5L-5.5,4L-1.5,0L-5.5,-4Z",
};

/**
 * One pair of axes.
 *
 * Options: `name` (of saved files), `xLabel`, `yLabel`, `height`, `xLog`, `yLog`, `xFormat`, `yFormat` (of ticks),
 * `onZoom(domain or null)`, `onPoint(point or null)`.
 */
export class Chart {
  constructor(options) {
    this.options = { height: 320, xLog: false, yLog: false, xFormat: formatNumber, yFormat: formatNumber, onZoom: () => {}, onPoint: () => {}, ...options };
    this.plot = svg("svg", { class: "plot", role: "img" });
    this.overlay = svg("svg", { class: "overlay", "aria-hidden": "true" });
    this.tooltip = html("div", { class: "tooltip", hidden: true, role: "status" });
    const label = `${options.yLabel} against ${options.xLabel}. Arrow keys move the cursor, Escape shows everything.`;
    this.body = html("div", { class: "chart-body", tabindex: 0, "aria-label": label, role: "group" });
    this.body.append(this.plot, this.overlay, this.tooltip);
    this.element = html("figure", { class: "chart", "data-chart": options.name }, this.body);
    this.content = { series: [] };
    addCursor(this);
    addTools(this);
  }

  /**
   * Draw.
   *
   * `series`: `{ key, name, color, dash, width, opacity, x, y, quiet, rows(i) }`; a quiet one has no cursor.
   * `bands`: `{ from, to, color, label }`; `lines`: `{ x, color, label }`;
   * `marks`: `{ x, y, shape, color, label, title }`, with `y` null for the lower edge.
   */
  draw(content) {
    this.content = { bands: [], lines: [], marks: [], ...content };
    const width = Math.max(280, this.element.clientWidth || 800);
    const { height, xLog, yLog } = this.options;
    this.size = { width, height };
    for (const layer of [this.plot, this.overlay]) {
      layer.setAttribute("width", width);
      layer.setAttribute("height", height);
      layer.setAttribute("viewBox", `0 0 ${width} ${height}`);
    }
    this.x = new Scale(content.xDomain, [MARGIN.left, width - MARGIN.right], xLog);
    this.y = new Scale(padded(content.yDomain, yLog), [height - MARGIN.bottom, MARGIN.top], yLog);
    this.projected = this.content.series.map((series) => this.project(series));
    const clip = `clip-${this.options.name}`;
    const area = { x: MARGIN.left, y: MARGIN.top, width: width - MARGIN.left - MARGIN.right };
    const box = svg("rect", { ...area, height: height - MARGIN.top - MARGIN.bottom });
    this.plot.replaceChildren(
      svg("defs", {}, svg("clipPath", { id: clip }, box)),
      ...this.drawBands(),
      ...this.drawAxes(),
      svg("g", { "clip-path": `url(#${clip})`, class: "curves" }, this.content.series.map((each, i) => this.drawLine(each, i))),
      ...this.content.lines.flatMap((line) => this.drawMarkLine(line)),
      ...this.content.marks.map((mark) => this.drawMark(mark)),
      this.drawNote(),
    );
    this.plot.setAttribute("aria-label", `${this.options.yLabel} against ${this.options.xLabel}`);
    this.cursor.redraw();
  }

  /** Pixels of the points of a series. Values that are no number have none. */
  project({ x, y }) {
    const px = new Float32Array(x.length);
    const py = new Float32Array(x.length);
    const fits = (value, isLog) => value !== null && Number.isFinite(value) && (!isLog || value > 0);
    for (let i = 0; i < x.length; i += 1) {
      const isPoint = fits(x[i], this.options.xLog) && fits(y[i], this.options.yLog);
      px[i] = isPoint ? this.x.at(x[i]) : NaN;
      py[i] = isPoint ? this.y.at(y[i]) : NaN;
    }
    return { px, py };
  }

  drawLine(series, number) {
    const { px, py } = this.projected[number];
    const parts = [];
    let isOpen = false;
    for (let i = 0; i < px.length; i += 1) {
      if (Number.isNaN(px[i])) isOpen = false;
      else {
        const y = Math.min(Math.max(py[i], -2000), 4000); // a line far outside would be slow to draw
        parts.push(`${isOpen ? "L" : "M"}${px[i].toFixed(1)},${y.toFixed(1)}`);
        isOpen = true;
      }
    }
    return svg("path", {
      d: parts.length === 1 ? `${parts[0]}h0.01` : parts.join(""),
      fill: "none",
      stroke: series.color,
      "stroke-width": series.width ?? 1.8,
      "stroke-opacity": series.opacity ?? 1,
      "stroke-dasharray": series.dash || null,
      "stroke-linejoin": "round",
      "stroke-linecap": parts.length === 1 ? "round" : null,
      "data-key": series.key,
      "data-run": series.run ?? null,
      "data-points": parts.length,
    });
  }

  drawAxes() {
    const { text, muted, grid } = theme();
    const { width, height } = this.size;
    const bottom = height - MARGIN.bottom;
    const write = (content, attributes) =>
      svg("text", { fill: muted, "font-size": 12, "font-family": "Roboto, sans-serif", ...attributes }, content);
    const nodes = [];
    for (const tick of this.x.ticks(X_TICK_SPACING)) {
      const x = this.x.at(tick);
      nodes.push(svg("line", { x1: x, x2: x, y1: MARGIN.top, y2: bottom, stroke: grid }));
      nodes.push(write(this.options.xFormat(tick), { x, y: bottom + 17, "text-anchor": "middle", class: "x-tick" }));
    }
    for (const tick of this.y.ticks(Y_TICK_SPACING)) {
      const y = this.y.at(tick);
      nodes.push(svg("line", { x1: MARGIN.left, x2: width - MARGIN.right, y1: y, y2: y, stroke: grid }));
      nodes.push(write(this.options.yFormat(tick), { x: MARGIN.left - 8, y: y + 4, "text-anchor": "end", class: "y-tick" }));
    }
    // At the left, since the buttons are at the right.
    nodes.push(write(this.options.xLabel, { x: MARGIN.left, y: height - 6, fill: text, "font-size": 13, class: "x-label" }));
    const turned = { transform: `translate(13 ${(MARGIN.top + bottom) / 2}) rotate(-90)` };
    nodes.push(write(this.options.yLabel, { ...turned, "text-anchor": "middle", fill: text, "font-size": 13 }));
    return nodes;
  }

  drawBands() {
    const [left, right] = this.x.range;
    const inside = (value) => Math.min(Math.max(this.x.at(value), left), right);
    const height = this.size.height - MARGIN.top - MARGIN.bottom;
    const nodes = [];
    for (const { from, to, color, label } of this.content.bands) {
      const [x, end] = [inside(from), inside(to)];
      if (end - x < 0.5) continue;
      nodes.push(svg("rect", { x, y: MARGIN.top, width: end - x, height, fill: color, class: "band" }, svg("title", {}, label)));
      if (end - x > 8 * label.length) {
        const style = { fill: theme().muted, "font-size": 11, "font-family": "Roboto, sans-serif", "text-anchor": "middle" };
        nodes.push(svg("text", { ...style, x: (x + end) / 2, y: MARGIN.top - 5 }, label));
      }
    }
    return nodes;
  }

  drawMarkLine({ x, color, label }) {
    const at = this.x.at(x);
    if (!this.isInside(at)) return [];
    const { height, width } = this.size;
    const isRight = at > 0.7 * width;
    const style = { fill: color, "font-size": 13, "font-weight": "bold", "font-family": "Roboto, sans-serif" };
    return [
      svg("line", { x1: at, x2: at, y1: MARGIN.top, y2: height - MARGIN.bottom, stroke: color, "stroke-width": 2.5 }),
      svg("text", { ...style, x: at + (isRight ? -6 : 6), y: MARGIN.top + 13, "text-anchor": isRight ? "end" : "start" }, label),
    ];
  }

  drawMark({ x, y, shape, color, title, size = 1 }) {
    const bottom = this.size.height - MARGIN.bottom;
    const at = this.x.at(x);
    if (!this.isInside(at)) return svg("g");
    const height = y === null ? bottom - 7 : Math.min(Math.max(this.y.at(y), MARGIN.top), bottom);
    const look = { fill: color, stroke: theme().page, "stroke-width": 1, class: "mark" };
    return svg("path", { d: SHAPES[shape], transform: `translate(${at} ${height}) scale(${size})`, ...look }, svg("title", {}, title));
  }

  /** How many points lie above the axis, so that nobody takes the chart for all there is. */
  drawNote() {
    let above = 0;
    this.content.series.forEach((series, i) => {
      if (series.quiet) return;
      const { px, py } = this.projected[i];
      for (let j = 0; j < py.length; j += 1) if (py[j] < MARGIN.top - 1 && this.isInside(px[j])) above += 1;
    });
    if (above === 0) return svg("g");
    const style = { fill: theme().muted, "font-size": 11, "font-family": "Roboto, sans-serif", "text-anchor": "end" };
    return svg("text", { ...style, x: this.size.width - MARGIN.right, y: MARGIN.top - 5 }, above === 1 ? "1 point is higher" : `${above} points are higher`);
  }

  isInside(pixel) {
    return pixel >= this.x.range[0] - 0.5 && pixel <= this.x.range[1] + 0.5;
  }
}
