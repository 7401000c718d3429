// Elements. Text from data only ever becomes text: nothing in this page parses HTML.

const html = (name, attributes = {}, ...children) => fill(document.createElement(name), attributes, children);

const svg = (name, attributes = {}, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

// Between the margins of a sheet of paper.
const PAPER = 680;

// Calls `draw(width)` now, and again whenever the width of `host` changes, for paper too.
function drawnToFit(host, draw) {
  let width = 0;
  new ResizeObserver(() => {
    const now = Math.round(host.clientWidth);
    if (now > 0 && now !== width) draw((width = now));
  }).observe(host);
  const redraw = () => width > 0 && draw(width);
  addEventListener("beforeprint", () => width > PAPER && draw(PAPER));
  addEventListener("afterprint", redraw);
  return redraw;
}

function choice(label, options, value, onChange) {
  const select = html("select", { change: () => onChange(select.value) });
  for (const [key, text] of options) select.append(html("option", { value: key, selected: String(key) === String(value) }, text));
  return html("label", {}, label, select);
}
