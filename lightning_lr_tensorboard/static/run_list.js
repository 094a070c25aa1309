// The list of runs: a tick, the colour, the name, and a regular expression that filters names.

import { html, swatch } from "./dom.js";
import { styleOf } from "./colors.js";
import { set, state, toggle } from "./state.js";

/** The runs that pass the filter and have a tick. */
export function shownRuns(runs) {
  return filtered(runs).filter((run) => !state.off.includes(run.name));
}

function filtered(runs) {
  const expression = pattern();
  return [...runs.values()].filter((run) => expression === null || expression.test(run.name));
}

/** The filter; null for one that is empty or wrong. */
function pattern() {
  try {
    return state.filter === "" ? null : new RegExp(state.filter, "i");
  } catch {
    return null;
  }
}

export class RunList {
  constructor() {
    this.input = html("input", {
      type: "search",
      id: "run-filter",
      placeholder: "Filter runs (regex)",
      "aria-label": "Filter runs by a regular expression",
      oninput: (event) => set({ filter: event.target.value }),
    });
    this.error = html("p", { class: "error", role: "alert" });
    this.list = html("ul", { class: "runs" });
    const all = (label, title, off) => html("button", { type: "button", title, onclick: () => set({ off: off() }) }, label);
    this.element = html(
      "aside",
      { "aria-label": "Runs" },
      this.input,
      this.error,
      html(
        "div",
        { class: "row" },
        all("All", "Show all runs", () => []),
        all("None", "Show no run", () => [...this.names]),
      ),
      this.list,
    );
    this.names = [];
    this.drawn = "";
  }

  draw(runs) {
    if (this.input.value !== state.filter) this.input.value = state.filter;
    this.error.textContent = state.filter !== "" && pattern() === null ? "This is no regular expression." : "";
    runs.forEach((run) => styleOf(run.name)); // colours in the order of the whole list, whatever is filtered
    this.names = [...runs.keys()];
    const shown = filtered(runs);
    const drawn = JSON.stringify([shown.map((run) => [run.name, run.warnings]), state.off, document.body.className]);
    if (drawn === this.drawn) return; // a new list would take the focus away
    this.drawn = drawn;
    this.list.replaceChildren(...shown.map((run) => this.row(run)));
  }

  row(run) {
    const isOn = !state.off.includes(run.name);
    const tick = html("input", {
      type: "checkbox",
      checked: isOn,
      onchange: (event) => toggle("off", run.name, !event.target.checked),
    });
    const only = () => set({ off: this.names.filter((name) => name !== run.name) });
    const warning = run.warnings.length > 0 ? html("span", { class: "error", title: run.warnings.join("\n") }, " ⚠") : null;
    const label = html("label", { title: run.name }, tick, swatch(styleOf(run.name)), html("span", { class: "name" }, run.name), warning);
    const on = () => lightUp(run.name);
    const off = () => lightUp(null);
    return html("li", { onpointerenter: on, onpointerleave: off, onfocusin: on, onfocusout: off }, label, html("button", { type: "button", class: "only", title: "Show only this run", onclick: only }, "only"));
  }
}

/** Fade the curves of all other runs; none if null. With many runs two of them may look alike. */
function lightUp(name) {
  for (const curve of document.querySelectorAll(".curves path[data-run]")) {
    curve.classList.toggle("faded", name !== null && curve.dataset.run !== name);
  }
}
