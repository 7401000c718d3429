// What the page was made from: plain values, and arrays as base64 that many charts share.

const DATA = JSON.parse(document.getElementById("data").textContent);
const LABELS = DATA.labels.map((label) => label || "all trials");
const NOTHING = 65535;

function bytesOf(place) {
  const text = atob(DATA.texts[place]);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

// Numbers of two bytes each, as `Pool.reals` packs them; NaN where there is none.
function realsOf(packed, count) {
  const values = new Float64Array(count).fill(NaN);
  if (packed === null) return values;
  const [place, low, step] = packed;
  const bytes = bytesOf(place);
  for (let i = 0; i < count; i++) {
    const code = bytes[2 * i] | (bytes[2 * i + 1] << 8);
    if (code !== NOTHING) values[i] = low + code * step;
  }
  return values;
}

// Small numbers that seldom change, as `Pool.runs` packs them.
function runsOf(place, count) {
  const values = new Uint8Array(count);
  const bytes = bytesOf(place);
  for (let i = 0, at = 0; i < bytes.length; i += 2) {
    values.fill(bytes[i], at, at + bytes[i + 1]);
    at += bytes[i + 1];
  }
  return values;
}

// A group's numbers over steps and layers; arrays are unpacked when they are first looked at.
class Series {
  constructor(figure, packed) {
    this.group = packed.group;
    this.packed = packed;
    Object.assign(this, figure.axes[packed.axis]);
    this.columns = {};
  }

  column(name) {
    if (!this.columns[name]) this.columns[name] = realsOf(this.packed[name], this.steps.length * this.layers.length);
    return this.columns[name];
  }

  // The numbers of all layers in a record.
  row(name, record) {
    return this.column(name).subarray(record * this.layers.length, (record + 1) * this.layers.length);
  }

  // The last record up to a step: what is known of the group by then.
  recordAt(step) {
    let found = 0;
    for (let i = 0; i < this.steps.length && this.steps[i] <= step; i++) found = i;
    return found;
  }
}

const seriesOf = (figure) => figure.series.map((packed) => new Series(figure, packed));

const stepsOf = (series) => [...new Set(series.flatMap((one) => one.steps))].sort((a, b) => a - b);

function rangeOf(arrays) {
  let low = Infinity;
  let high = -Infinity;
  for (const array of arrays) {
    for (const value of array) {
      if (value < low) low = value;
      if (value > high) high = value;
    }
  }
  return low <= high ? [low, high] : null;
}

// Decades above the untrained networks' largest value that a scale reaches at most: what grows further diverges.
const REACH = 4;

// The range of a column of logarithms where a few records (a network that diverges) would take most of the full one: of
// each group without a tenth of its records at either end.
function usualRange(series, name) {
  const full = rangeOf(series.map((one) => one.column(name)));
  const first = rangeOf(series.map((one) => one.row(name, 0)));
  if (!full || !first) return full;
  const usual = rangeOf([first, ...series.map((one) => trimmedRange(one, name))]);
  usual[1] = Math.min(usual[1], first[1] + REACH);
  return usual[1] - usual[0] > 0.5 * (full[1] - full[0]) ? full : usual;
}

function trimmedRange(one, name) {
  const ranges = one.steps.map((_, record) => rangeOf([one.row(name, record)])).filter(Boolean);
  const left = Math.floor(ranges.length / 10);
  const lows = ranges.map(([low]) => low).sort((a, b) => a - b);
  const highs = ranges.map(([, high]) => high).sort((a, b) => b - a);
  return ranges.length ? [lows[left], highs[left]] : [];
}

// The first of the widest: what a reader may want to see before choosing.
const widest = (ranges) => {
  const spans = ranges.map((range) => (range ? range[1] - range[0] : -1));
  return spans.indexOf(Math.max(...spans));
};
