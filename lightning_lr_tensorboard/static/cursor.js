// The cursor of a chart: the nearest point with its values, by mouse or by arrow keys, and a drag to zoom.

import { svg, html } from "./dom.js";
import { theme } from "./colors.js";

const REACH = 60; // pixels from the mouse to a point, at most
const LEAST_DRAG = 6; // pixels; less is a click

export function addCursor(chart) {
  let drag = null; // pixel where a drag began
  let point = null; // { series, index } under the cursor

  chart.cursor = { redraw, showAt, points: () => point };

  function redraw() {
    if (point !== null && !(point.index < (chart.projected[point.series]?.px.length ?? 0))) point = null;
    show(point);
  }

  /** A line at a value of the shared axis, for a cursor in another chart; none if null. */
  function showAt(value) {
    point = null;
    const x = value === null ? NaN : chart.x.at(value);
    chart.tooltip.hidden = true;
    chart.overlay.replaceChildren(...(chart.isInside(x) ? [line(x)] : []));
  }

  function line(x) {
    const [bottom, top] = chart.y.range;
    return svg("line", { x1: x, x2: x, y1: top, y2: bottom, stroke: theme().muted, "stroke-dasharray": "3 3" });
  }

  function show(found) {
    point = found;
    chart.tooltip.hidden = found === null;
    if (found === null) {
      chart.overlay.replaceChildren();
      return;
    }
    const series = chart.content.series[found.series];
    const { px, py } = chart.projected[found.series];
    const [x, y] = [px[found.index], py[found.index]];
    const ring = { cx: x, cy: y, r: 5, fill: series.color, stroke: theme().page, "stroke-width": 1.5 };
    chart.overlay.replaceChildren(line(x), svg("circle", ring));
    const rows = series.rows(found.index).map(([label, value]) => html("tr", {}, html("td", {}, label), html("td", {}, value)));
    chart.tooltip.replaceChildren(html("b", {}, series.name), html("table", {}, ...rows));
    const isRight = x > chart.size.width / 2;
    chart.tooltip.style.left = isRight ? "" : `${x + 14}px`;
    chart.tooltip.style.right = isRight ? `${chart.size.width - x + 14}px` : "";
    chart.tooltip.style.top = `${Math.min(Math.max(y - 30, 4), chart.size.height - 110)}px`;
  }

  function nearest(mouseX, mouseY) {
    let best = REACH * REACH;
    let found = null;
    chart.content.series.forEach((series, number) => {
      if (series.quiet) return;
      const { px, py } = chart.projected[number];
      for (let i = 0; i < px.length; i += 1) {
        const distance = (px[i] - mouseX) ** 2 + (py[i] - mouseY) ** 2;
        if (distance < best && chart.isInside(px[i])) {
          best = distance;
          found = { series: number, index: i };
        }
      }
    });
    return found;
  }

  function tell() {
    if (point === null) return chart.options.onPoint(null);
    const series = chart.content.series[point.series];
    return chart.options.onPoint({ key: series.key, x: series.x[point.index], y: series.y[point.index] });
  }

  function place(event) {
    const box = chart.body.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  chart.body.addEventListener("pointermove", (event) => {
    const [x, y] = place(event);
    if (drag === null) {
      show(nearest(x, y));
      tell();
      return;
    }
    const [bottom, top] = chart.y.range;
    const box = { x: Math.min(drag, x), width: Math.abs(x - drag), y: top, height: bottom - top };
    chart.overlay.replaceChildren(svg("rect", { ...box, fill: theme().muted, "fill-opacity": 0.2 }));
    chart.tooltip.hidden = true;
  });

  chart.body.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || event.target.closest("button")) return;
    [drag] = place(event);
    chart.body.setPointerCapture(event.pointerId);
  });

  chart.body.addEventListener("pointerup", (event) => {
    if (drag === null) return;
    const [x] = place(event);
    const ends = [drag, x].sort((a, b) => a - b).map((pixel) => chart.x.invert(Math.min(Math.max(pixel, chart.x.range[0]), chart.x.range[1])));
    const isDrag = Math.abs(x - drag) >= LEAST_DRAG;
    drag = null;
    chart.overlay.replaceChildren();
    if (isDrag) chart.options.onZoom(ends);
  });

  chart.body.addEventListener("pointerleave", () => {
    if (drag !== null) return;
    show(null);
    tell();
  });

  chart.body.addEventListener("dblclick", () => chart.options.onZoom(null));

  chart.body.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1, PageUp: 10, PageDown: -10 }[event.key];
    const across = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (event.key === "Escape") chart.options.onZoom(null);
    else if (step !== undefined) show(moved(step));
    else if (across !== undefined) show(otherSeries(across));
    else return;
    event.preventDefault();
    tell();
  });

  function moved(step) {
    const hoverable = chart.content.series.findIndex((series) => !series.quiet);
    if (hoverable < 0) return null;
    if (point === null) return { series: hoverable, index: 0 };
    const last = chart.projected[point.series].px.length - 1;
    return { ...point, index: Math.min(Math.max(point.index + step, 0), last) };
  }

  /** The point of the next series that is nearest to the one under the cursor. */
  function otherSeries(step) {
    if (point === null) return moved(0);
    const numbers = chart.content.series.map((_, i) => i).filter((i) => !chart.content.series[i].quiet);
    const next = numbers[(numbers.indexOf(point.series) + step + numbers.length) % numbers.length];
    const target = chart.projected[point.series].px[point.index];
    const { px } = chart.projected[next];
    let index = 0;
    px.forEach((x, i) => {
      if (Math.abs(x - target) < Math.abs(px[index] - target)) index = i;
    });
    return { series: next, index };
  }
}
