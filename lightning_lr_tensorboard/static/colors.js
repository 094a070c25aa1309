// Colours that colour-blind people tell apart (Okabe and Ito), lighter on a dark page. With more than eight runs the
// same colours come again with another dash, so 32 runs look different.

const LIGHT = ["#0072b2", "#d55e00", "#009e73", "#b5538a", "#b07a00", "#3a9bd9", "#6a4c93", "#4d4d4d"];
const DARK = ["#56b4e9", "#ff8b3d", "#22c79a", "#f09ac4", "#f0d24b", "#8fd3ff", "#b79ced", "#d9d9d9"];
const DASHES = ["", "7 3", "2 2.5", "9 3 2 3"];

// viridis, without its yellow on a light page and without its darkest part on a dark one.
const LIGHT_RAMP = ["#440154", "#414487", "#2a788e", "#22a884", "#7ad151", "#b8c01c"];
const DARK_RAMP = ["#7d5ba6", "#5b78c7", "#3aa3b8", "#35c193", "#8fdc5c", "#fde725"];

const THEMES = {
  light: { text: "#212121", muted: "#616161", grid: "#e4e4e4", page: "#ffffff", chosen: "#c0392b", band: "#00000010" },
  dark: { text: "#f0f0f0", muted: "#b0b0b0", grid: "#484848", page: "#303030", chosen: "#ff7b6b", band: "#ffffff14" },
};

const order = new Map(); // name of a run -> the number of its colour, which it keeps while the page is open

export function isDark() {
  return document.body.classList.contains("dark");
}

export function theme() {
  return THEMES[isDark() ? "dark" : "light"];
}

/** Colour and dash of a run. */
export function styleOf(run) {
  if (!order.has(run)) order.set(run, order.size);
  const number = order.get(run);
  const palette = isDark() ? DARK : LIGHT;
  return {
    color: palette[number % palette.length],
    dash: DASHES[Math.floor(number / palette.length) % DASHES.length],
  };
}

/** The colour of a share from 0 to 1. */
export function rampColor(share) {
  const ramp = isDark() ? DARK_RAMP : LIGHT_RAMP;
  const place = Math.min(Math.max(share, 0), 1) * (ramp.length - 1);
  const first = Math.min(Math.floor(place), ramp.length - 2);
  const [from, to] = [ramp[first], ramp[first + 1]].map((hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16)));
  return `#${from.map((part, i) => Math.round(part + (to[i] - part) * (place - first)).toString(16).padStart(2, "0")).join("")}`;
}
