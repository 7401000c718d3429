// The distribution of a quantity over layers: a fan of quantiles around the median, before and after training.

function drawQuantiles(figure, host) {
  const series = new Map(seriesOf(figure).map((one) => [one.group, one]));
  const pairs = fanPairs(figure.names);
  const sheets = makeSheets(host, { first: 6, wide: true, draw: (group) => fans(series.get(group), pairs, figure) });
  const names = pairs.map(([low, high]) => `${share(low)} to ${share(high)} %`).join(", ");
  host.append(html("p", { class: "note" }, `The line is the median; the fans reach from ${names} of the ${figure.quantity}s.`));
  const update = () => sheets(selection.visible().filter((group) => series.has(group)));
  selection.onChange(update);
  update();
}

const share = (name) => Number(name.slice(1));

// The outermost quantiles first: q01 with q99, q05 with q95, ...
function fanPairs(names) {
  const sorted = [...names].sort((one, other) => share(one) - share(other));
  const pairs = [];
  for (let i = 0; i < sorted.length - 1 - i; i++) pairs.push([sorted[i], sorted[sorted.length - 1 - i]]);
  return pairs;
}

function fans(one, pairs, figure) {
  const records = [...new Set([0, one.steps.length - 1])];
  const [outer] = pairs;
  const range = padded(rangeOf([one.column(outer[0]), one.column(outer[1])]) ?? [0, 1], 0.05, 1e-3);
  const drawn = records.map((record) => fan(one, record, pairs, figure, range));
  return html("div", { class: "pair" }, ...drawn);
}

function fan(one, record, pairs, figure, range) {
  const [width, height] = [168, 132];
  const chart = frame(width, height, { left: 34, right: 4, top: 18, bottom: 24 });
  const layers = rangeOf([one.layers]);
  const x = linear([layers[0] - 0.5, layers[1] + 0.5], [chart.left, chart.right]);
  const y = linear(range, [chart.bottom, chart.top]);
  yAxis(chart, y, ticks(range, 3), number, null);
  xAxis(chart, x, ticks(layers, 3, true), String, null);
  chart.root.append(svg("text", { x: 0, y: 11, class: "name" }, record === 0 ? `untrained` : `step ${one.steps[record]}`));
  // Level across each layer, so that a single one has a width, too.
  const xs = one.layers.flatMap((layer) => [x(layer - 0.5), x(layer + 0.5)]);
  const ysOf = (name) => Array.from(one.row(name, record)).flatMap((value) => [y(value), y(value)]);
  const group = svg("g", { class: "series s0" });
  for (const [low, high] of pairs) {
    group.append(svg("path", { class: "band", d: bandOf(xs, ysOf(low), ysOf(high)) }));
  }
  const middle = figure.names.find((name) => share(name) === 50);
  if (middle) group.append(svg("path", { class: "line", d: pathOf(ysOf(middle).map((value, i) => [xs[i], value])) }));
  chart.root.append(group);
  for (const name of ["width", "height"]) chart.root.removeAttribute(name);
  chart.root.removeAttribute("aria-hidden");
  chart.root.setAttribute("role", "img");
  chart.root.setAttribute("aria-label", `${LABELS[one.group]}, step ${one.steps[record]}: ${figure.quantity} by layer`);
  return chart.root;
}
