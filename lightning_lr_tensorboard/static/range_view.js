// Range tests of all runs: loss against learning rate, with what was read off one of them.

import { Chart, SHAPES } from "./chart.js";
import { html, swatch, svg } from "./dom.js";
import { styleOf, theme } from "./colors.js";
import { extent, formatLR, formatNumber } from "./scale.js";
import { quantile } from "./smooth.js";
import { set, state, toggle } from "./state.js";

// Upper end of the axis, as in the figures of the Python package: this share of the fall above the start.
const SHOWN_RISE = 0.6;
const SHOWN_QUANTILE = 0.95;
const RULE_NAMES = { minimum: "minimum / 10", smith: "smith (turn / 3)" };
const RULE_SHAPES = ["square", "up", "diamond", "plus", "down", "star"];
const LATER_DASHES = ["", "10 4", "5 4", "2 4"]; // of the first, second, ... test of a run
const VERDICT_SHAPES = { "very high": "cross", high: "up", good: "circle", low: "down" };

export class RangeView {
  constructor() {
    this.chart = new Chart({
      name: "range_test",
      xLabel: "learning rate",
      yLabel: "loss",
      xLog: true,
      xFormat: formatLR,
      height: 430,
      onZoom: (x) => set({ x }),
    });
    this.verdict = html("p", { class: "verdict", role: "status" });
    this.legend = html("div", { class: "legend" });
    this.table = html("tbody");
    const heads = ["", "run", "test", "learning rate", "base_lr", "max_lr", "sure?"];
    const head = html("tr", {}, heads.map((name) => html("th", { scope: "col" }, name)));
    const table = html("table", { class: "results", "aria-label": "Range tests" }, html("thead", {}, head), this.table);
    this.empty = html("p", { class: "empty" }, "No range test in the runs that are shown. Add lightning_lr.LRRangeTest to a Trainer.");
    this.content = html("div", {}, this.verdict, this.chart.element, this.legend, table);
    this.element = html("section", {}, this.empty, this.content);
  }

  draw(runs) {
    const tests = runs.flatMap((run) => run.range_tests.map((test) => new Test(run, test)));
    this.empty.hidden = tests.length > 0;
    this.content.hidden = tests.length === 0;
    if (tests.length === 0) return;
    const ticked = tests.filter((test) => !state.tests.includes(test.id));
    const chosen = ticked.find((test) => test.id === state.test) ?? ticked[0];
    const shown = ticked.filter((test) => test.monitor === chosen.monitor); // another metric has another axis
    this.drawTable(tests, shown, chosen);
    this.chart.element.hidden = shown.length === 0;
    this.verdict.replaceChildren();
    this.legend.replaceChildren();
    if (shown.length === 0) return;
    const rules = chosen.rules();
    const trials = chosen.trials();
    this.chart.options.yLabel = chosen.monitor;
    this.chart.draw({
      series: shown.flatMap((test) => test.series(test === chosen)),
      bands: chosen.base_lr ? [{ from: chosen.base_lr, to: chosen.max_lr, color: `${theme().chosen}22`, label: "cycle bounds" }] : [],
      lines: chosen.lr ? [{ x: chosen.lr, color: theme().chosen, label: `lr ${formatLR(chosen.lr)}` }] : [],
      marks: [...shown.filter((test) => test.lr).map((test) => test.mark()), ...rules, ...trials],
      xDomain: state.x ?? extent(shown.map((test) => test.lrs)),
      yDomain: lossLimits(shown),
    });
    this.verdict.append(...chosen.sentence());
    if (rules.length > 0) this.legend.append(html("p", { class: "keys" }, "Other rules:", rules.map(icon)));
    if (trials.length > 0) {
      const kinds = new Map(trials.map((mark) => [mark.verdict, { ...mark, title: mark.verdict ?? "tried" }]));
      this.legend.append(html("p", { class: "keys" }, "Trials, at the lower edge:", [...kinds.values()].map(icon)));
    }
  }

  drawTable(tests, shown, chosen) {
    const drawn = JSON.stringify([tests.map((test) => [test.id, test.lr]), shown.map((test) => test.id), chosen?.id, document.body.className]);
    if (drawn === this.drawn) return; // new rows would take the focus away
    this.drawn = drawn;
    const rows = tests.map((test) => {
      const tick = html("input", {
        type: "checkbox",
        checked: !state.tests.includes(test.id),
        "aria-label": `Show ${test.label}`,
        onchange: (event) => toggle("tests", test.id, !event.target.checked),
      });
      const choose = html("button", { type: "button", class: "link", title: "Mark what was read off this test", onclick: () => set({ test: test.id }) }, test.name);
      const isGrey = !shown.includes(test);
      const cells = [
        html("td", {}, tick, swatch(test.style())),
        html("td", {}, choose),
        html("td", {}, test.which),
        ...[test.lr, test.base_lr, test.max_lr].map((lr) => html("td", { class: "number" }, formatLR(lr))),
        html("td", {}, test.certainty(), html("span", { class: "why" }, (test.reasons ?? []).map((reason) => ` – ${reason}`))),
      ];
      return html("tr", { class: [isGrey ? "grey" : "", test === chosen ? "chosen" : ""].join(" "), "data-test": test.id }, cells);
    });
    this.table.replaceChildren(...rows);
  }
}

/** One range test of a run. */
class Test {
  constructor(run, record) {
    Object.assign(this, record);
    this.run = run;
    this.name = run.name;
    this.id = `${run.name}|${record.prefix}|${record.step}`;
    const epoch = record.epoch ?? record.prefix.match(/epoch_(\d+)$/)?.[1];
    this.which = epoch === undefined ? `step ${record.step}` : `epoch ${epoch}`;
    this.label = run.range_tests.length > 1 ? `${run.name}, ${this.which}` : run.name;
  }

  /** The colour of the run; the later tests of a run are dashed. */
  style() {
    const { color, dash } = styleOf(this.run.name);
    const number = this.run.range_tests.findIndex((each) => each.prefix === this.prefix && each.step === this.step);
    return { color, dash: LATER_DASHES[Math.min(number, LATER_DASHES.length - 1)] || dash };
  }

  series(isChosen) {
    const style = this.style();
    const rows = (i) => [
      ["lr", formatLR(this.lrs[i])],
      [this.monitor, formatNumber(this.values[i])],
      ["smoothed", formatNumber(this.smoothed[i])],
      ["step", this.step + i],
    ];
    const common = { run: this.run.name, name: this.label, color: style.color, x: this.lrs, rows };
    return [
      { ...common, key: `raw|${this.id}`, label: `${this.label} raw`, y: this.values, width: 1, opacity: 0.35, quiet: true },
      { ...common, key: this.id, label: `${this.label} smoothed`, y: this.smoothed, width: isChosen ? 3.2 : 2, dash: style.dash },
    ];
  }

  mark() {
    const title = `${this.label}: lr ${formatLR(this.lr)}`;
    return { x: this.lr, y: this.valueAt(this.lr), shape: "circle", color: styleOf(this.run.name).color, title, size: 1.2 };
  }

  rules() {
    const others = Object.entries(this.lrs_of_rules ?? {}).filter(([rule, lr]) => rule !== this.rule || lr !== this.lr);
    return others
      .sort(([, a], [, b]) => a - b)
      .map(([rule, lr], i) => ({
        x: lr,
        y: this.valueAt(lr),
        shape: RULE_SHAPES[i % RULE_SHAPES.length],
        color: theme().muted,
        title: `${RULE_NAMES[rule] ?? rule}: ${formatLR(lr)}`,
      }));
  }

  /** The trials of the search that followed this test. */
  trials() {
    const prefix = this.prefix.replace("lr_range_test", "lr_search");
    const search = this.run.searches.find((each) => each.prefix === prefix);
    return (search?.candidates ?? []).map(({ lr, verdict, why }) => ({
      x: lr,
      y: null,
      shape: VERDICT_SHAPES[verdict] ?? "circle",
      color: verdict === "good" ? theme().chosen : theme().muted,
      verdict,
      title: `trial of lr ${formatLR(lr)}${verdict ? `: ${verdict}, ${why}` : ""}`,
    }));
  }

  valueAt(lr) {
    const last = this.lrs.findIndex((each) => each >= lr);
    if (last <= 0) return this.smoothed[last === 0 ? 0 : this.lrs.length - 1];
    const [a, b] = [this.lrs[last - 1], this.lrs[last]];
    const share = Math.log(lr / a) / (Math.log(b / a) || 1);
    const [from, to] = [this.smoothed[last - 1], this.smoothed[last]];
    return from === null || to === null ? null : from + share * (to - from);
  }

  certainty() {
    return this.confident === undefined ? "–" : this.confident ? "confident" : "not confident";
  }

  sentence() {
    const found = html("b", {}, `lr = ${formatLR(this.lr)}`);
    const bounds = this.base_lr ? `, cycles from ${formatLR(this.base_lr)} to ${formatLR(this.max_lr)}` : "";
    const sure = this.confident === undefined ? "" : `: ${this.certainty()}`;
    const reasons = (this.reasons ?? []).map((reason) => html("li", {}, reason));
    const list = reasons.length > 0 ? [html("ul", { class: "reasons" }, reasons)] : [];
    return [swatch(this.style()), ` ${this.label}: `, found, `${bounds}${sure}`, ...list];
  }
}

/** All but a diverged tail, which would flatten the rest. */
function lossLimits(tests) {
  const sign = tests[0].mode === "max" ? -1 : 1;
  const limits = tests.map((test) => {
    const values = test.smoothed.filter((value) => value !== null).map((value) => sign * value);
    if (values.length === 0) return [0, 1];
    const [low, most] = extent([values]);
    const start = values[0];
    return [low, start > low ? Math.min(most, start + SHOWN_RISE * (start - low)) : quantile(values, SHOWN_QUANTILE)];
  });
  const [low, high] = extent(limits);
  return sign > 0 ? [low, high] : [-high, -low];
}

function icon({ shape, color, title }) {
  const path = svg("path", { d: SHAPES[shape], fill: color, transform: "translate(7 7)" });
  return html("span", { class: "key" }, svg("svg", { width: 14, height: 14, "aria-hidden": "true" }, path), title);
}
