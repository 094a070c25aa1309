// The page of the tab "Learning rate". TensorBoard calls `render` in a frame of its own.

import { html } from "./dom.js";
import { runs, watch } from "./data.js";
import { onChange, set, state } from "./state.js";
import { RunList, shownRuns } from "./run_list.js";
import { RangeView } from "./range_view.js";
import { TrainingView } from "./training_view.js";
import { SearchView } from "./search_view.js";

const TITLES = { range: "Range test", training: "Training", search: "Search" };

export function render() {
  document.title = "Learning rate";
  document.head.append(html("link", { rel: "stylesheet", href: "./style.css" }));
  const page = new Page();
  window.addEventListener("error", (event) => page.fail(event.error ?? event.message));
  window.addEventListener("unhandledrejection", (event) => page.fail(event.reason));
  page.start();
}

class Page {
  constructor() {
    this.message = html("pre", { class: "message error", role: "alert", hidden: true });
    this.runList = new RunList();
    this.views = { range: new RangeView(), training: new TrainingView(), search: new SearchView() };
    this.tabs = Object.entries(TITLES).map(([view, title]) => this.tab(view, title));
    this.waiting = html("p", { class: "empty" }, "Reading the runs …");
    this.none = html("p", { class: "empty" }, "No run in this folder has logged a learning rate and a loss yet. New runs appear by themselves.");
    this.main = html("main", {}, this.waiting);
    this.hasData = false;
    this.isDue = false;
  }

  tab(view, title) {
    const keys = (event) => {
      const move = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (move === undefined) return;
      const next = (this.tabs.indexOf(event.target) + move + this.tabs.length) % this.tabs.length;
      this.tabs[next].focus();
      this.tabs[next].click();
    };
    const show = () => set({ view, x: null });
    return html("button", { type: "button", role: "tab", "data-view": view, onclick: show, onkeydown: keys }, title);
  }

  start() {
    this.followTheme();
    const tabs = html("div", { role: "tablist", "aria-label": "Views" }, this.tabs);
    document.body.append(html("div", { class: "page" }, this.runList.element, html("div", { class: "right" }, tabs, this.message, this.main)));
    onChange(() => this.drawSoon());
    new ResizeObserver(() => this.drawSoon()).observe(this.main);
    watch((error) => {
      this.hasData ||= error === null;
      this.message.hidden = error === null;
      this.message.textContent = error ?? "";
      this.drawSoon();
    });
  }

  /** TensorBoard's dark mode is a class of the page around this one. */
  followTheme() {
    let around = null;
    try {
      around = window.parent.document.body;
    } catch {
      return; // the page around is not TensorBoard's
    }
    const follow = () => {
      document.body.classList.toggle("dark", around.classList.contains("dark-mode"));
      this.drawSoon();
    };
    new MutationObserver(follow).observe(around, { attributes: true, attributeFilter: ["class"] });
    follow();
  }

  /** Several changes at once are drawn once. */
  drawSoon() {
    if (this.isDue) return;
    this.isDue = true;
    requestAnimationFrame(() => {
      this.isDue = false;
      this.draw();
    });
  }

  draw() {
    if (!this.hasData) return;
    const start = performance.now();
    const name = state.view in this.views ? state.view : viewWithData();
    for (const tab of this.tabs) {
      tab.setAttribute("aria-selected", tab.dataset.view === name);
      tab.tabIndex = tab.dataset.view === name ? 0 : -1;
    }
    try {
      this.runList.draw(runs);
      const view = this.views[name];
      const element = runs.size === 0 ? this.none : view.element;
      if (this.main.firstChild !== element) this.main.replaceChildren(element);
      if (runs.size > 0) view.draw(shownRuns(runs));
    } catch (error) {
      this.fail(error);
    }
    document.body.dataset.drawn = String(Number(document.body.dataset.drawn ?? 0) + 1);
    if (document.body.dataset.drawn === "1") {
      const note = () => (document.body.dataset.firstMilliseconds = (performance.now() - start).toFixed(1));
      requestAnimationFrame(() => setTimeout(note)); // after the browser has painted; for the benchmark
    }
  }

  fail(error) {
    this.message.hidden = false;
    this.message.textContent = `This tab failed: ${error?.stack ?? error}`;
  }
}

/** The first view that has something to show, so that nobody who has made no range test begins with an empty page. */
function viewWithData() {
  const all = [...runs.values()];
  if (all.some((run) => run.range_tests.length > 0)) return "range";
  if (all.some((run) => Object.keys(run.training.lr).length > 0)) return "training";
  return all.some((run) => run.searches.length > 0) ? "search" : "range";
}
