// Colours: the palette of Okabe and Ito for names (its values are in the style sheet, for light and dark), maps that
// grow lighter with the value for numbers, and one with a neutral middle for what shrinks or grows.

const NAMED = 8;

const VIRIDIS = ["440154", "482475", "414487", "355f8d", "2a788e", "21918c", "22a884", "44bf70", "7ad151", "bddf26", "fde725"];
const DIVERGING = ["0b3c6f", "2f73b0", "7fb2d9", "c9dfee", "f4f3ee", "f6d3ae", "e69a54", "c25f14", "7a3403"];

const channels = (hex) => [0, 2, 4].map((place) => parseInt(hex.slice(place, place + 2), 16));

function between(anchors, share) {
  const place = Math.min(Math.max(share, 0), 1) * (anchors.length - 1);
  const left = Math.min(Math.floor(place), anchors.length - 2);
  const [from, to] = [channels(anchors[left]), channels(anchors[left + 1])];
  return from.map((value, channel) => Math.round(value + (place - left) * (to[channel] - value)));
}

// A colour for each of 256 parts: a map asks for thousands.
const TABLES = [VIRIDIS, DIVERGING].map((anchors) => [...Array(256).keys()].map((part) => between(anchors, part / 255)));

const rgb = (colour) => `rgb(${colour.join(",")})`;

// Whether dark text is read better on a colour than light text.
const isLight = ([red, green, blue]) => 0.299 * red + 0.587 * green + 0.114 * blue > 140;

// Values -> colours: over a range, or with its middle at 0 for logarithms around a factor of 1.
function colourScale(range, diverging) {
  const [low, high] = range ?? [0, 1];
  const reach = Math.max(Math.abs(low), Math.abs(high), 1e-9);
  const [from, to] = diverging ? [-reach, reach] : [low, high];
  const table = TABLES[diverging ? 1 : 0];
  const part = (value) => (to > from ? Math.round((255 * (value - from)) / (to - from)) : 128);
  return { from, to, of: (value) => table[Math.min(Math.max(part(value), 0), 255)] };
}

// Marks that tell lines apart where colours don't: paths around (0, 0).
const MARKS = [
  "M-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0 -7 0Z",
  "M-3 -3H3V3H-3Z",
  "M0 -4.2L4 3H-4Z",
  "M0 -4.5L4.5 0L0 4.5L-4.5 0Z",
  "M0 4.2L4 -3H-4Z",
  "M-1.2 -4H1.2V-1.2H4V1.2H1.2V4H-1.2V1.2H-4V-1.2H-1.2Z",
  "M-4 -2.6L-2.6 -4L0 -1.4L2.6 -4L4 -2.6L1.4 0L4 2.6L2.6 4L0 1.4L-2.6 4L-4 2.6L-1.4 0Z",
  "M-4.5 -1.6H4.5V1.6H-4.5Z",
];

// A colour scale with its ends told, drawn on a canvas of its own.
function scaleBar(scale, told) {
  const canvas = html("canvas", { width: 64, height: 1, "aria-hidden": "true" });
  const context = canvas.getContext("2d");
  for (let x = 0; x < 64; x++) {
    context.fillStyle = rgb(scale.of(scale.from + ((scale.to - scale.from) * x) / 63));
    context.fillRect(x, 0, 1, 1);
  }
  return html("p", { class: "scale" }, told(scale.from), canvas, told(scale.to));
}
