// The training of all runs: learning rates above the loss on the same steps, and the loss against the learning rate.

import { Chart } from "./chart.js";
import { html } from "./dom.js";
import { styleOf, theme } from "./colors.js";
import { extent, formatLR, formatNumber, robustExtent } from "./scale.js";
import { exponential } from "./smooth.js";
import { set, state } from "./state.js";

const OUR_LOSS = "lr/loss";

export class TrainingView {
  constructor() {
    const zoom = { onZoom: (x) => set({ x }) };
    const linked = (name, options) => {
      const chart = new Chart({ name, xLabel: "step", height: 250, ...zoom, ...options, onPoint: (point) => this.link(chart, point) });
      return chart;
    };
    this.charts = {
      lr: linked("learning_rate", { yLabel: "learning rate", yLog: true, yFormat: formatLR }),
      loss: linked("loss", { yLabel: "loss" }),
      alignment: linked("alignment", { yLabel: "alignment", height: 180 }),
      log10_scale: linked("log10_scale", { yLabel: "log10 of the scale", height: 180 }),
    };
    this.path = new Chart({ name: "loss_against_lr", xLabel: "learning rate", yLabel: "loss", xLog: true, xFormat: formatLR, height: 360, onZoom: () => {} });
    this.choice = html("select", { id: "loss-tag", onchange: (event) => set({ loss: event.target.value }) });
    this.smoothing = html("input", {
      type: "range", min: 0, max: 0.99, step: 0.01, id: "smoothing",
      oninput: (event) => set({ smooth: Number(event.target.value) }),
    });
    this.log = html("input", { type: "checkbox", id: "log-loss", onchange: (event) => set({ logloss: event.target.checked }) });
    this.tools = html(
      "div",
      { class: "row tools" },
      html("label", {}, "Loss: ", this.choice),
      html("label", {}, "Smoothing: ", this.smoothing),
      html("label", {}, this.log, " Logarithmic loss"),
    );
    this.empty = html("p", { class: "empty" }, "No learning rate and loss in the runs that are shown. Any callback of lightning_lr logs them; LRTrace does nothing else.");
    this.note = html("p", { class: "legend" });
    const pathTitle = html("h2", {}, "Loss against learning rate, in the order of time (the square is the start, the circle the end)");
    const charts = Object.values(this.charts).map((chart) => chart.element);
    this.content = html("div", {}, this.tools, this.note, charts, pathTitle, this.path.element);
    this.element = html("section", {}, this.empty, this.content);
  }

  draw(runs) {
    const trainings = runs.map((run) => new Training(run)).filter((each) => each.lr.length > 0);
    this.empty.hidden = trainings.length > 0;
    this.content.hidden = trainings.length === 0;
    if (trainings.length === 0) return;
    this.drawTools(trainings);
    const steps = extent(trainings.flatMap((each) => [...each.lr, ...each.losses()].map(({ steps: all }) => all)));
    const xDomain = state.x ?? steps;
    const cycles = trainings.find((each) => each.run.cycles.length > 0);
    const bands = cycles === undefined ? [] : cycles.bands();
    this.note.textContent = cycles === undefined ? "" : `Shaded: the cycles of ${cycles.run.name}.`;
    this.charts.loss.options.yLog = state.logloss;
    this.path.options.yLog = state.logloss;
    const lines = {
      lr: trainings.flatMap((each) => each.lrSeries()),
      loss: trainings.flatMap((each) => each.lossSeries()),
      alignment: trainings.flatMap((each) => each.otherSeries("alignment")),
      log10_scale: trainings.flatMap((each) => each.otherSeries("log10_scale")),
    };
    for (const [name, chart] of Object.entries(this.charts)) {
      const series = lines[name];
      chart.element.hidden = series.length === 0;
      if (series.length > 0) chart.draw({ series, bands, xDomain, yDomain: domainOf(series, chart.options.yLog, xDomain, name === "loss") });
    }
    const paths = trainings.map((each) => each.pathSeries()).filter((each) => each !== null);
    this.path.element.hidden = paths.length === 0;
    if (paths.length === 0) return;
    const ends = (series, i, shape, what) => ({ x: series.x.at(i), y: series.y.at(i), shape, color: series.color, title: `${what} of ${series.name}` });
    this.path.draw({
      series: paths,
      marks: paths.flatMap((series) => [ends(series, 0, "square", "start"), ends(series, -1, "circle", "end")]),
      xDomain: widened(domainOf(paths.map((series) => ({ y: series.x })), true)),
      yDomain: domainOf(paths, state.logloss, null, true),
    });
  }

  drawTools(trainings) {
    const tags = [...new Set(trainings.flatMap((each) => Object.keys(each.run.training.loss)))].sort();
    const known = [...this.choice.options].map((option) => option.value);
    if (JSON.stringify(known) !== JSON.stringify(["", ...tags])) {
      const options = [html("option", { value: "" }, "automatic"), ...tags.map((tag) => html("option", { value: tag }, tag))];
      this.choice.replaceChildren(...options);
    }
    this.choice.value = tags.includes(state.loss) ? state.loss : "";
    this.smoothing.value = state.smooth;
    this.log.checked = state.logloss;
  }

  /** Show the cursor of one chart in the others. */
  link(chart, point) {
    for (const other of Object.values(this.charts)) {
      if (other !== chart && !other.element.hidden) other.cursor.showAt(point === null ? null : point.x);
    }
  }
}

/** The scalars of one run. */
class Training {
  constructor(run) {
    this.run = run;
    this.style = styleOf(run.name);
    const entries = Object.entries(run.training.lr).map(([tag, columns]) => ({ tag, ...columns }));
    const ours = entries.filter(({ tag }) => tag.startsWith("lr/"));
    this.lr = ours.length > 0 ? ours : entries; // LearningRateMonitor logs the same values once more
    this.loss = this.chooseLoss();
    this.lossAt = new Map(this.loss === null ? [] : this.loss.steps.map((step, i) => [step, this.loss.values[i]]));
    this.lrAt = new Map(this.lr.length === 0 ? [] : this.lr[0].steps.map((step, i) => [step, this.lr[0].values[i]]));
  }

  chooseLoss() {
    const tags = Object.keys(this.run.training.loss);
    const best = [state.loss, OUR_LOSS, tags.find((tag) => /train/i.test(tag)), tags[0]].find((tag) => tags.includes(tag));
    return best === undefined ? null : { tag: best, ...this.run.training.loss[best] };
  }

  losses() {
    return this.loss === null ? [] : [this.loss];
  }

  common(columns) {
    return { run: this.run.name, name: `${this.run.name} · ${columns.tag}`, color: this.style.color, dash: this.style.dash, x: columns.steps };
  }

  lrSeries() {
    return this.lr.map((columns, i) => ({
      ...this.common(columns),
      key: `${this.run.name}|${columns.tag}`,
      y: columns.values,
      opacity: 1 - 0.6 * (i / this.lr.length),
      rows: (at) => [
        ["step", columns.steps[at]],
        ["lr", formatLR(columns.values[at])],
        ["loss", formatNumber(this.lossAt.get(columns.steps[at]))],
      ],
    }));
  }

  lossSeries() {
    if (this.loss === null) return [];
    const { steps, values } = this.loss;
    const smoothed = exponential(values, state.smooth);
    const rows = (at) => [
      ["step", steps[at]],
      ["loss", formatNumber(values[at])],
      ["smoothed", formatNumber(smoothed[at])],
      ["lr", formatLR(this.lrAt.get(steps[at]))],
    ];
    const common = { ...this.common(this.loss), rows };
    const raw = { ...common, key: `raw|${this.run.name}`, label: `${common.name} raw`, y: values, width: 1, opacity: 0.3, dash: "", quiet: true };
    return [raw, { ...common, key: this.run.name, label: `${common.name} smoothed`, y: smoothed, width: 2 }];
  }

  otherSeries(kind) {
    return Object.entries(this.run.training[kind]).map(([tag, { steps, values }]) => ({
      ...this.common({ tag, steps }),
      key: `${this.run.name}|${tag}`,
      y: values,
      rows: (at) => [["step", steps[at]], [kind === "alignment" ? "alignment" : "log10 of the scale", formatNumber(values[at])]],
    }));
  }

  /** Loss against learning rate; null if they were never logged at one step. */
  pathSeries() {
    if (this.loss === null) return null;
    const smoothed = exponential(this.loss.values, state.smooth);
    const joined = this.loss.steps.map((step, i) => [step, this.lrAt.get(step), smoothed[i]]).filter(([, lr]) => lr > 0);
    if (joined.length === 0) return null;
    return {
      ...this.common(this.loss),
      name: this.run.name,
      key: `path|${this.run.name}`,
      x: joined.map(([, lr]) => lr),
      y: joined.map(([, , loss]) => loss),
      rows: (at) => [["step", joined[at][0]], ["lr", formatLR(joined[at][1])], ["loss, smoothed", formatNumber(joined[at][2])]],
    };
  }

  /** Every second cycle, up to the end of this run. */
  bands() {
    const [, lastStep] = extent(this.lr.map(({ steps }) => steps));
    return this.run.cycles
      .map(([cycle, from], i) => ({ cycle, from, to: this.run.cycles[i + 1]?.[1] ?? lastStep, label: `cycle ${cycle}` }))
      .map((band) => ({ ...band, color: band.cycle % 2 === 1 ? theme().band : "#00000000" }));
  }
}

/** The extent of what lies in a part of the x axis; a steep start of the loss may be cut off. */
function domainOf(series, isLog, xDomain = null, isRobust = false) {
  const shown = series.map(({ x, y }) =>
    y.filter((value, i) => (!isLog || value > 0) && (xDomain === null || (x[i] >= xDomain[0] && x[i] <= xDomain[1]))),
  );
  return (isRobust && !isLog ? robustExtent(shown) : extent(shown)) ?? (isLog ? [0.1, 1] : [0, 1]);
}

function widened([low, high]) {
  return low === high ? [low / 2, high * 2] : [low / 1.1, high * 1.1];
}
