// Norms layer by layer: a line for each group, the band of its seeds, theory dashed, and a slider over the steps.

// Lines that are drawn with marks; more of them would be nothing but marks.
const MARKED = 24;

function drawLines(figure, host) {
  const series = seriesOf(figure);
  const steps = stepsOf(series);
  let step = steps[0] ?? 0;
  const area = html("div", { tabindex: 0, role: "group", "aria-label": `${figure.alt} Arrow keys go through it.` });
  const legend = html("ul", { class: "legend" });
  host.append(lineControls(figure, steps, (now) => ((step = now), redraw())), area, legend);
  let hovered = null;
  let points = [];

  const emphasised = () => hovered ?? (selection.shows(selection.chosen) ? selection.chosen : null);

  function draw(width) {
    const shown = series.filter((one) => selection.shows(one.group));
    if (!shown.length) {
      points = [];
      legend.replaceChildren();
      area.replaceChildren(html("p", { class: "empty" }, "No group passes the filters."));
      return;
    }
    const colours = colouring();
    const height = Math.round(Math.min(Math.max(width * 0.5, 280), 460));
    const chart = frame(width, height, { left: 52, right: 12, top: 28, bottom: 42 });
    const { x, y } = lineAxes(chart, figure, shown, step);
    points = [];
    const clip = `clip-${figure.name}`;
    chart.root.append(
      svg("clipPath", { id: clip }, svg("rect", { x: chart.left, y: chart.top, width: chart.right - chart.left, height: chart.bottom - chart.top })),
    );
    const bands = svg("g", { "clip-path": `url(#${clip})` });
    const lines = svg("g", { class: shown.length > NAMED ? "many" : null });
    for (const one of shown) {
      const record = one.recordAt(step);
      const xs = one.layers.map(x);
      const values = one.row("value", record);
      const style = colours.of(one.group);
      const name = ["series", style.class].filter(Boolean).join(" ");
      const made = { class: name, color: style.colour, "data-group": one.group };
      const place = (column, at) => Array.from(one.row(column, at), y);
      const ys = Array.from(values, y);
      if (shown.length <= NAMED || one.group === selection.chosen) {
        bands.append(svg("g", made, svg("path", { class: "band", d: bandOf(xs, place("low", record), place("high", record)) })));
      }
      const theory = pathOf(place("predicted", 0).map((value, i) => [xs[i], value]));
      const line = svg("g", made);
      if (theory && (shown.length <= NAMED || one.group === selection.chosen)) line.append(svg("path", { class: "theory", d: theory }));
      line.append(svg("path", { class: "line", d: pathOf(ys.map((value, i) => [xs[i], value])) }));
      if (style.mark && shown.length <= MARKED) line.append(...marksOn(xs, ys, style.mark));
      lines.append(line);
      ys.forEach((value, i) => Number.isFinite(value) && points.push({ one, record, i, x: xs[i], y: value }));
    }
    chart.root.append(bands, lines);
    area.replaceChildren(chart.root);
    legend.replaceChildren(...lineLegend(colours, shown));
    emphasise();
  }

  // The group that is pointed at, or chosen, stands out from the others.
  function emphasise() {
    const group = emphasised();
    const root = area.firstElementChild;
    if (!root || root.localName !== "svg") return;
    root.classList.toggle("has-chosen", group !== null);
    for (const one of root.querySelectorAll(".series")) one.classList.toggle("chosen", Number(one.dataset.group) === group);
  }

  function told({ one, record, i }) {
    const at = (column, row) => one.row(column, row)[i];
    const lines = [LABELS[one.group], `${figure.x} ${one.layers[i]}, step ${one.steps[record]}: ${power(at("value", record))}`];
    if (Number.isFinite(at("low", record))) lines.push(`95 %: ${power(at("low", record))} to ${power(at("high", record))}`);
    if (Number.isFinite(at("predicted", 0))) lines.push(`theory, untrained: ${power(at("predicted", 0))}`);
    return lines;
  }

  function nearest(x, y) {
    let best = null;
    let least = 40 ** 2;
    for (const point of points) {
      const distance = (point.x - x) ** 2 + (point.y - y) ** 2;
      if (distance < least) [best, least] = [point, distance];
    }
    return best;
  }

  explained(
    area,
    (x, y) => {
      const point = nearest(x, y);
      return point && { lines: told(point), group: point.one.group };
    },
    (found) => {
      const group = found ? found.group : null;
      if (group !== hovered) {
        hovered = group;
        emphasise();
      }
    },
  );
  area.addEventListener("click", () => hovered !== null && selection.choose(hovered));
  walked(area, () => points, (point) => {
    hovered = point ? point.one.group : null;
    emphasise();
    if (!point) return tooltip.hide();
    const box = area.getBoundingClientRect();
    tooltip.show(told(point), box.left + point.x, box.top + point.y);
    tooltip.say(told(point));
  });

  const redraw = drawnToFit(area, draw);
  selection.onChange(redraw);
}

// The axes stay as they are while the steps go by, unless lines leave them.
function lineAxes(chart, figure, shown, step) {
  const usual = usualRange(shown, "value") ?? [0, 1];
  const now = rangeOf(shown.map((one) => one.row("value", one.recordAt(step)))) ?? usual;
  const theory = rangeOf(shown.map((one) => one.row("predicted", 0))) ?? usual;
  const values = [Math.min(usual[0], now[0]), Math.max(usual[1], now[1])];
  // Theory may run far from what was measured: it is shown as far as that leaves the lines readable.
  const reach = Math.max(values[1] - values[0], 2);
  const low = Math.max(Math.min(values[0], theory[0]), values[0] - reach);
  const high = Math.min(Math.max(values[1], theory[1]), values[1] + reach);
  const layers = rangeOf(shown.map((one) => one.layers));
  const x = linear(padded(layers, 0.02, 1), [chart.left, chart.right]);
  const y = linear(padded([low, high]), [chart.bottom, chart.top]);
  yAxis(chart, y, ticks(y.domain, (chart.bottom - chart.top) / 50, true), (value) => tickLabel(value, true), figure.y);
  const room = Math.max(2, Math.min(12, (chart.right - chart.left) / 60));
  xAxis(chart, x, ticks(layers, room, true), String, figure.x);
  return { x, y };
}

// Marks on a line, no more than a dozen.
function marksOn(xs, ys, mark) {
  return evenly(xs.length, 12)
    .filter((i) => Number.isFinite(ys[i]))
    .map((i) => svg("path", { class: "dot", d: mark, transform: `translate(${xs[i].toFixed(1)} ${ys[i].toFixed(1)})` }));
}

function lineLegend(colours, shown) {
  const entry = ({ text, group, mark, colour, class: name }) => {
    const sample = svg("svg", { class: `series ${name}`, color: colour, width: 26, height: 12, "aria-hidden": "true" });
    sample.append(svg("path", { class: "line", d: "M1 6H25" }));
    if (mark && shown.length <= MARKED) sample.append(svg("path", { class: "dot", d: mark, transform: "translate(13 6)" }));
    if (group === undefined) return html("li", {}, sample, text);
    const pressed = String(selection.chosen === group);
    return html("li", {}, sample, html("button", { type: "button", "aria-pressed": pressed, click: () => selection.choose(group) }, text));
  };
  const items = colours.legend.map(entry);
  const has = (column) => shown.some((one) => one.packed[column] !== null);
  if (shown.length <= NAMED && has("low")) items.push(html("li", { class: "note" }, "band: 95 % interval over seeds"));
  if (shown.length <= NAMED && has("predicted")) items.push(html("li", { class: "note" }, "dashed: mean-field theory before training"));
  if (shown.length > NAMED) {
    items.push(html("li", { class: "note" }, "press a line, or a row of the table: its band and theory are drawn"));
  }
  return items;
}

// The slider over steps, the button that plays them, and what colours the lines.
function lineControls(figure, steps, onStep) {
  const row = html("div", { class: "controls" });
  const factors = DATA.factors.map((factor, place) => [place, factor.name]).filter(([place]) => DATA.factors[place].values.length > 1);
  if (factors.length > 1 || LABELS.length > NAMED) {
    const options = [[-1, "group"], ...factors];
    row.append(
      choice("colour by", options, selection.colourBy, (value) => {
        selection.colourBy = Number(value);
        selection.changed();
      }),
    );
  }
  if (steps.length < 2) return row;
  const output = html("output", {}, `step ${steps[0]}`);
  const slider = html("input", { type: "range", min: 0, max: steps.length - 1, value: 0, input: () => moved() });
  const play = html("button", { type: "button", click: () => (timer ? stop() : start()) }, "Play");
  let timer = null;
  function moved() {
    const step = steps[Number(slider.value)];
    output.textContent = `step ${step}`;
    slider.setAttribute("aria-valuetext", `step ${step}`);
    onStep(step);
  }
  function stop() {
    clearInterval(timer);
    timer = null;
    play.textContent = "Play";
  }
  function start() {
    if (Number(slider.value) === steps.length - 1) slider.value = 0;
    play.textContent = "Stop";
    timer = setInterval(() => {
      slider.value = Number(slider.value) + 1;
      moved();
      if (Number(slider.value) === steps.length - 1) stop();
    }, 150);
  }
  row.append(html("label", { class: "slider" }, "training", slider), output, play);
  return row;
}

// Arrow keys on an area walk through its points: along a line, and from line to line.
function walked(area, points, show) {
  let at = null;
  area.addEventListener("keydown", (event) => {
    const all = points();
    const groups = [...new Set(all.map((point) => point.one.group))];
    const moves = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
    if (event.key === "Escape") return show((at = null));
    if (event.key === "Enter" && at) return selection.choose(at.one.group);
    if (!(event.key in moves) || !all.length) return;
    event.preventDefault();
    const [line, along] = moves[event.key];
    const group = at ? groups[(groups.indexOf(at.one.group) + line + groups.length) % groups.length] : groups[0];
    const those = all.filter((point) => point.one.group === group);
    const i = at ? at.i + along : 0;
    at = those.reduce((best, point) => (Math.abs(point.i - i) < Math.abs(best.i - i) ? point : best), those[0]);
    show(at);
  });
  area.addEventListener("blur", () => show((at = null)));
}
