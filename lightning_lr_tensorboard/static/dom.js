// Elements. Text goes in as text nodes only, since names of runs come from folders that anyone may have named.

const SVG = "http://www.w3.org/2000/svg";

/** An HTML element with attributes, event listeners (`onclick`) and children. */
export function html(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/** An SVG element, likewise. */
export function svg(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

function fill(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(key, String(value));
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined).map(asNode));
  return element;
}

function asNode(child) {
  return child instanceof Node ? child : document.createTextNode(String(child));
}

/** A piece of line in the colour and the dash of a run. */
export function swatch({ color, dash }) {
  const line = svg("line", { x1: 1, x2: 25, y1: 6, y2: 6, stroke: color, "stroke-width": 3, "stroke-dasharray": dash });
  return svg("svg", { width: 26, height: 12, class: "swatch", "aria-hidden": "true" }, line);
}
