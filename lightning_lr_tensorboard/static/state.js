// What the reader has chosen, kept in the address of the page, so that a link shows the same.

// TensorBoard reads the part of the hash before the first "&" as the name of the tab, and leaves the rest.
const DEFAULTS = {
  view: "", // range, training or search; at first the first one that has something to show
  filter: "", // regular expression of the names of runs
  off: [], // runs without a tick
  tests: [], // range tests without a tick
  test: "", // the range test whose marks are drawn
  search: "", // the search whose trials are drawn
  loss: "", // the tag of the loss in the training
  smooth: 0.6, // weight of the mean so far
  logloss: false, // whether the axis of the loss is logarithmic
  x: null, // zoomed part of the shared axis
};

let listener = () => {};

export const state = { ...structuredClone(DEFAULTS), ...read() };

/** Call `changed` after every change. */
export function onChange(changed) {
  listener = changed;
}

/** Change choices, and write them into the address. */
export function set(changes) {
  Object.assign(state, changes);
  write();
  listener();
}

/** Put a member into a list of the state, or take it out. */
export function toggle(list, member, isIn) {
  const others = state[list].filter((each) => each !== member);
  set({ [list]: isIn ? [...others, member] : others });
}

function top() {
  try {
    void window.parent.location.hash;
    return window.parent;
  } catch {
    return window; // a page that may not see the one around it
  }
}

function read() {
  const found = {};
  for (const part of top().location.hash.split("&").slice(1)) {
    const [key, text] = part.split("=");
    if (!(key in DEFAULTS)) continue;
    try {
      found[key] = JSON.parse(decodeURIComponent(text));
    } catch {
      continue; // a broken link shows the defaults
    }
    if (!isLike(found[key], DEFAULTS[key])) delete found[key];
  }
  return found;
}

function isLike(value, model) {
  if (model === null) return value === null || (Array.isArray(value) && value.length === 2 && value.every(Number.isFinite));
  return Array.isArray(model) ? Array.isArray(value) : typeof value === typeof model;
}

function write() {
  const page = top();
  const parts = Object.entries(state)
    .filter(([key, value]) => JSON.stringify(value) !== JSON.stringify(DEFAULTS[key]))
    .map(([key, value]) => `${key}=${encodeURIComponent(JSON.stringify(value))}`);
  const tab = page.location.hash.split("&")[0] || "#lightning_lr";
  const address = new URL(page.location.href);
  address.hash = [tab, ...parts].join("&");
  page.history.replaceState(page.history.state, "", address);
}
