// Numbers: where they stand on an axis, where ticks are, and how they are written.

const DIGITS = "⁰¹²³⁴⁵⁶⁷⁸⁹";

const raised = (whole) => String(whole).replace("-", "⁻").replace(/\d/g, (digit) => DIGITS[digit]);

// Three significant digits, as `0.123` or `1.23e-5`.
function number(value) {
  if (value === null || Number.isNaN(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e-4 && size < 1e6) return String(Number(value.toPrecision(3)));
  return value.toExponential(2);
}

// 10 to a power of which only the logarithm is known.
function power(log10) {
  if (log10 === null || Number.isNaN(log10)) return "–";
  if (Math.abs(log10) < 300) return number(10 ** log10);
  const whole = Math.floor(log10);
  return `${(10 ** (log10 - whole)).toFixed(2)}e${whole}`;
}

const written = (logarithmic) => (logarithmic ? power : number);

// A linear scale from values to pixels.
function linear([low, high], [from, to]) {
  const span = high > low ? high - low : 1;
  const scale = (value) => from + ((value - low) / span) * (to - from);
  scale.domain = [low, high];
  return scale;
}

// About `count` round values within a range.
function ticks([low, high], count, whole = false) {
  const rough = (high - low) / Math.max(count, 1) || 1;
  const size = 10 ** Math.floor(Math.log10(rough));
  let step = [1, 2, 5, 10].map((times) => times * size).find((one) => one >= rough * 0.999);
  if (whole) step = Math.max(1, Math.round(step));
  const found = [];
  for (let tick = Math.ceil(low / step - 1e-9); tick * step <= high + step * 1e-9; tick++) found.push(tick * step);
  return found;
}

const tickLabel = (value, logarithmic) => (logarithmic ? (value === 0 ? "1" : `10${raised(value)}`) : number(value));

// A range with some air around it.
function padded([low, high], share = 0.04, least = 0.5) {
  const air = Math.max((high - low) * share, high - low < least ? (least - (high - low)) / 2 : 0);
  return [low - air, high + air];
}

// At most `count` of the places 0 .. total-1, evenly, the first and the last among them.
function evenly(total, count) {
  if (total <= count) return [...Array(total).keys()];
  return [...new Set([...Array(count).keys()].map((place) => Math.round((place * (total - 1)) / (count - 1))))];
}

// The same at equal distances, from the first on.
function regularly(total, count) {
  const stride = Math.ceil(total / Math.max(count, 1));
  return [...Array(Math.ceil(total / stride)).keys()].map((place) => place * stride);
}
