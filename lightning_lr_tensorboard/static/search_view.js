// Searches: the scores of all runs against the learning rate, and the trials of one search beside its leaderboard.

import { Chart } from "./chart.js";
import { html } from "./dom.js";
import { rampColor, styleOf, theme } from "./colors.js";
import { extent, formatLR, formatNumber, padded } from "./scale.js";
import { gaussian, quantile } from "./smooth.js";
import { set, state } from "./state.js";

// Limits of the loss axis, as in the figures of the Python package.
const NEAR = 0.4; // falls of the best trial above the start
const SHOWN_SHARE = 0.85;
const LOG_RATIO = 10;
const VERDICT_SIGNS = { "very high": "✕", high: "▲", good: "●", low: "▼" };
const FADED = 0.15;

export class SearchView {
  constructor() {
    this.scores = new Chart({ name: "scores", xLabel: "learning rate", yLabel: "score", xLog: true, xFormat: formatLR, height: 240, onZoom: () => {} });
    this.trials = new Chart({
      name: "trials", xLabel: "optimizer step", yLabel: "loss", height: 420,
      onZoom: (x) => set({ x }),
      onPoint: (point) => this.light(point === null ? null : point.key),
    });
    this.choice = html("select", { id: "search-choice", onchange: (event) => set({ search: event.target.value }) });
    this.verdict = html("p", { class: "verdict", role: "status" });
    this.ramp = html("div", { class: "ramp" });
    this.rows = html("tbody");
    const heads = ["", "lr", "verdict", "score", "steps", "why"].map((name) => html("th", { scope: "col" }, name));
    this.table = html("table", { class: "results leaderboard", "aria-label": "Leaderboard" }, html("thead", {}, html("tr", {}, heads)), this.rows);
    this.empty = html("p", { class: "empty" }, "No search in the runs that are shown. LRRangeTest and LRSearch of lightning_lr log theirs.");
    this.noCurves = html("p", { class: "legend" }, "The logs of this search hold no curves: they were written by an older version.");
    const left = html("div", { class: "curves-of-trials" }, this.ramp, this.trials.element, this.noCurves);
    this.content = html(
      "div",
      {},
      html("h2", {}, "Score of each learning rate"),
      this.scores.element,
      html("div", { class: "row tools" }, html("label", {}, "Trials of: ", this.choice)),
      this.verdict,
      html("div", { class: "side-by-side" }, left, html("div", { class: "scrolls" }, this.table)),
    );
    this.element = html("section", {}, this.empty, this.content);
  }

  draw(runs) {
    const searches = runs.flatMap((run) => run.searches.map((record) => new Search(run, record)));
    this.empty.hidden = searches.length > 0;
    this.content.hidden = searches.length === 0;
    if (searches.length === 0) return;
    const chosen = searches.find((each) => each.id === state.search) ?? searches[0];
    this.drawScores(searches, chosen);
    this.drawChoice(searches, chosen);
    this.verdict.replaceChildren(...chosen.sentence());
    this.drawTrials(chosen);
    this.drawLeaderboard(chosen);
  }

  drawScores(searches, chosen) {
    const alike = searches.filter((each) => each.monitor === chosen.monitor && each.scored.length > 0);
    this.scores.element.hidden = alike.length === 0;
    if (alike.length === 0) return;
    const all = alike.flatMap((each) => each.scored);
    const mild = all.filter(({ verdict }) => verdict === "good" || verdict === "low"); // the others may be far worse
    const sign = chosen.mode === "max" ? -1 : 1;
    const signed = (mild.length > 0 ? mild : all).map(({ score }) => sign * score);
    const [low, high] = [Math.min(...signed), mild.length > 0 ? Math.max(...signed) : quantile(signed, SHOWN_SHARE)];
    this.scores.options.yLabel = `score (${chosen.monitor ?? "loss"})`;
    this.scores.draw({
      series: alike.map((each) => each.scoreSeries(each === chosen)),
      marks: alike.flatMap((each) => each.scoreMarks()),
      xDomain: padded(extent(alike.map((each) => each.scored.map(({ lr }) => lr))), true),
      yDomain: sign > 0 ? [low, high] : [-high, -low],
    });
  }

  drawChoice(searches, chosen) {
    const known = [...this.choice.options].map((option) => option.value);
    if (JSON.stringify(known) !== JSON.stringify(searches.map((each) => each.id))) {
      this.choice.replaceChildren(...searches.map((each) => html("option", { value: each.id }, each.label)));
    }
    this.choice.value = chosen.id;
  }

  drawTrials(chosen) {
    const curves = chosen.candidates.filter((each) => (each.values ?? []).length > 0);
    this.trials.element.hidden = curves.length === 0;
    this.ramp.hidden = curves.length === 0;
    this.noCurves.hidden = curves.length > 0;
    if (curves.length === 0) return;
    const series = curves.map((each) => chosen.trialSeries(each)).reverse(); // the best one on top
    const limits = chosen.limits(curves);
    this.trials.options.yLog = limits[0] > 0 && limits[1] / limits[0] >= LOG_RATIO;
    this.trials.options.yLabel = chosen.monitor ?? "loss";
    const xDomain = state.x ?? [0, Math.max(...series.map(({ x }) => x.at(-1)))];
    this.trials.draw({ series, xDomain, yDomain: limits });
    this.light(this.lit ?? null);
    const stops = [0, 0.25, 0.5, 0.75, 1].map(rampColor).join(", ");
    const bar = html("span", { class: "ramp-bar", style: `background: linear-gradient(to right, ${stops})` });
    const [low, high] = extent([chosen.candidates.map(({ lr }) => lr)]);
    this.ramp.replaceChildren("learning rate ", formatLR(low), " ", bar, " ", formatLR(high));
  }

  drawLeaderboard(chosen) {
    const drawn = JSON.stringify([chosen.id, chosen.candidates.length, document.body.className]);
    if (drawn === this.drawn) return; // new rows would take the focus away
    this.drawn = drawn;
    const rows = chosen.candidates.map((each, i) => {
      const key = String(each.lr);
      const on = () => this.light(key);
      const off = () => this.light(null);
      const chip = html("span", { class: "chip", style: `background: ${i === 0 ? theme().chosen : chosen.color(each)}` });
      const cells = [
        html("td", {}, chip),
        html("td", { class: "number" }, formatLR(each.lr)),
        html("td", {}, each.verdict ? `${VERDICT_SIGNS[each.verdict] ?? ""} ${each.verdict}` : "–"),
        html("td", { class: "number" }, each.score === null || each.score === undefined ? "diverged" : formatNumber(each.score)),
        html("td", { class: "number" }, each.steps ?? "–"),
        html("td", { class: "why" }, each.why ?? ""),
      ];
      const listeners = { onpointerenter: on, onpointerleave: off, onfocus: on, onblur: off };
      return html("tr", { tabindex: 0, "data-lr": key, class: i === 0 ? "best" : "", ...listeners }, cells);
    });
    this.rows.replaceChildren(...rows);
  }

  /** Light up the curve and the row of a learning rate; all again if null. */
  light(key) {
    this.lit = key;
    for (const row of this.rows.children) row.classList.toggle("lit", row.dataset.lr === key);
    for (const curve of this.trials.plot.querySelectorAll("path[data-key]")) {
      const isLit = curve.dataset.key === key;
      curve.setAttribute("stroke-opacity", key === null || isLit ? 1 : FADED);
      curve.classList.toggle("lit", isLit);
    }
  }
}

/** One search of a run. */
class Search {
  constructor(run, record) {
    Object.assign(this, record);
    this.run = run;
    this.id = `${run.name}|${record.prefix}`;
    const epoch = record.epoch ?? record.prefix.match(/epoch_(\d+)$/)?.[1];
    this.label = run.searches.length > 1 ? `${run.name}, ${epoch === undefined ? record.prefix : `epoch ${epoch}`}` : run.name;
    this.scored = this.candidates.filter(({ score }) => score !== null && score !== undefined).sort((a, b) => a.lr - b.lr);
    this.lrs = extent([this.candidates.map(({ lr }) => Math.log(lr))]);
  }

  color({ lr }) {
    const [low, high] = this.lrs;
    return rampColor(high > low ? (Math.log(lr) - low) / (high - low) : 0.5);
  }

  scoreSeries(isChosen) {
    const { color, dash } = styleOf(this.run.name);
    const rows = (i) => [
      ["lr", formatLR(this.scored[i].lr)],
      ["score", formatNumber(this.scored[i].score)],
      ["verdict", this.scored[i].verdict ?? "–"],
      ["steps", this.scored[i].steps ?? "–"],
    ];
    const points = { x: this.scored.map(({ lr }) => lr), y: this.scored.map(({ score }) => score) };
    return { key: this.id, run: this.run.name, name: this.label, color, dash, width: isChosen ? 3 : 1.8, rows, ...points };
  }

  scoreMarks() {
    const { color } = styleOf(this.run.name);
    return this.scored.map(({ lr, score }) => ({ x: lr, y: score, shape: "circle", size: 0.6, color, title: `${this.label}: lr ${formatLR(lr)}` }));
  }

  trialSeries(candidate) {
    const isBest = candidate === this.candidates[0];
    const steps = candidate.values.map((_, i) => this.every * (i + 1));
    const smoothed = gaussian(candidate.values);
    return {
      key: String(candidate.lr),
      name: `lr ${formatLR(candidate.lr)}`,
      color: isBest ? theme().chosen : this.color(candidate),
      width: isBest ? 3.4 : 2,
      x: steps,
      y: smoothed,
      rows: (i) => [
        [this.monitor ?? "loss", formatNumber(candidate.values[i])],
        ["smoothed", formatNumber(smoothed[i])],
        ["step", steps[i]],
        ["verdict", candidate.verdict],
      ],
    };
  }

  /** All of the best trial, and of the others what is not far above its start. */
  limits(curves) {
    const sign = this.mode === "max" ? -1 : 1;
    const signed = (each) => gaussian(each.values).filter((value) => value !== null).map((value) => sign * value);
    const best = signed(curves[0]);
    const shown = curves.filter(({ verdict }) => verdict !== "very high").flatMap(signed);
    const fall = Math.abs(best[0] - sign * (this.candidates[0].score ?? 0)) || 1;
    const most = Math.max(best[0] + NEAR * fall, quantile(shown, SHOWN_SHARE));
    const low = Math.min(...shown);
    const high = Math.max(...best, Math.min(Math.max(...shown), most));
    return sign > 0 ? [low, high] : [-high, -low];
  }

  sentence() {
    if (!this.lr) return [];
    const sure = this.confident === undefined ? "" : this.confident ? ": confident" : ": not confident";
    const bounds = this.base_lr ? `, cycles from ${formatLR(this.base_lr)} to ${formatLR(this.max_lr)}` : "";
    const reasons = (this.reasons ?? []).map((reason) => html("li", {}, reason));
    const list = reasons.length > 0 ? [html("ul", { class: "reasons" }, reasons)] : [];
    return [`${this.label}: for this run `, html("b", {}, `lr = ${formatLR(this.lr)}`), `${bounds}${sure}`, ...list];
  }
}
