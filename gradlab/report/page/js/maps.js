// A statistic over layers and steps: one group large, the others small beside each other on the same colours.

const BLANK = "blank: exactly 0, or not recorded";

function drawMaps(figure, host) {
  const series = new Map(seriesOf(figure).map((one) => [one.group, one]));
  const name = html("h3", {});
  const area = html("div", { role: "img", "aria-label": figure.alt });
  const legend = html("div");
  host.append(name, area, legend);
  const told = written(figure.log);
  let scale = colourScale(null);
  let shown = null;

  const groups = () => selection.visible().filter((group) => series.has(group));
  const sheets = makeSheets(host, {
    first: 12,
    draw: (group) => mapCanvas(series.get(group), scale, "4.6rem"),
    pick: (group) => selection.choose(group),
    isPicked: (group) => group === shown?.group,
  });

  // The chosen group, or the one of which there is most to see.
  function focused(all) {
    if (all.includes(selection.chosen)) return selection.chosen;
    return all[widest(all.map((group) => rangeOf([series.get(group).column("value")])))];
  }

  function rescale() {
    const passing = groups().map((group) => series.get(group));
    const full = rangeOf(passing.map((one) => one.column("value")));
    const range = figure.log ? usualRange(passing, "value") : full && [Math.min(0, full[0]), full[1] > 0.5 && full[1] <= 1 ? 1 : full[1] || 1];
    scale = colourScale(range);
    const ends = full && range ? [full[0] < range[0] ? "≤ " : "", full[1] > range[1] ? "≥ " : ""] : ["", ""];
    legend.replaceChildren(scaleBar(scale, (value) => `${ends[value === scale.from ? 0 : 1]}${told(value)}`));
    legend.firstElementChild.append(html("span", {}, figure.quantity), html("span", {}, BLANK));
  }

  function draw(width) {
    name.textContent = shown ? LABELS[shown.group] : "";
    if (!shown) return area.replaceChildren(html("p", { class: "empty" }, "No group passes the filters."));
    area.replaceChildren(bigMap(shown, width, scale, figure));
  }

  function update() {
    const all = groups();
    shown = series.get(focused(all));
    rescale();
    redraw();
    sheets(all.length > 1 ? all : []);
  }

  explained(area, (x, y, box) => {
    const at = shown && mapPlace(shown, area.firstElementChild, x, y, box);
    if (!at) return null;
    const value = shown.row("value", at.record)[at.layer];
    return { lines: [`layer ${shown.layers[at.layer]}, step ${shown.steps[at.record]}`, `${figure.quantity}: ${told(value)}`] };
  });

  const redraw = drawnToFit(area, draw);
  selection.onChange(update);
  update();
}

// A canvas with a pixel for each record and layer, layer 1 at the bottom.
function mapCanvas(one, scale, height) {
  const [width, layers] = [one.steps.length, one.layers.length];
  const canvas = html("canvas", { width, height: layers, "aria-hidden": "true" });
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, layers);
  const values = one.column("value");
  for (let record = 0; record < width; record++) {
    for (let layer = 0; layer < layers; layer++) {
      const value = values[record * layers + layer];
      if (!Number.isFinite(value)) continue;
      const [red, green, blue] = scale.of(value);
      const pixel = 4 * ((layers - 1 - layer) * width + record);
      image.data[pixel] = red;
      image.data[pixel + 1] = green;
      image.data[pixel + 2] = blue;
      image.data[pixel + 3] = 255;
    }
  }
  context.putImageData(image, 0, 0);
  if (height) canvas.style.height = height;
  return canvas;
}

const MAP = { left: 44, right: 10, top: 24, bottom: 42 };

function bigMap(one, width, scale, figure) {
  const height = Math.round(Math.min(Math.max(width * 0.32, 200), 340));
  const chart = frame(width, height, MAP);
  const columns = linear([0, one.steps.length], [chart.left, chart.right]);
  const rows = linear([0, one.layers.length], [chart.bottom, chart.top]);
  const steps = regularly(one.steps.length, Math.floor((chart.right - chart.left) / 60));
  const layers = regularly(one.layers.length, Math.floor((chart.bottom - chart.top) / 24));
  yAxis(chart, (i) => rows(i + 0.5), layers, (i) => one.layers[i], "layer");
  xAxis(chart, (i) => columns(i + 0.5), steps, (i) => one.steps[i], "step");
  const canvas = mapCanvas(one, scale);
  Object.assign(canvas.style, {
    left: `${(100 * chart.left) / width}%`,
    top: `${(100 * chart.top) / height}%`,
    width: `${(100 * (chart.right - chart.left)) / width}%`,
    height: `${(100 * (chart.bottom - chart.top)) / height}%`,
  });
  return html("div", { class: "stack" }, chart.root, canvas);
}

// The record and the layer under a place of the big map.
function mapPlace(one, stack, x, y, box) {
  const height = stack.clientHeight;
  const along = (x - MAP.left) / (box.width - MAP.left - MAP.right);
  const up = 1 - (y - MAP.top) / (height - MAP.top - MAP.bottom);
  if (along < 0 || along >= 1 || up < 0 || up >= 1) return null;
  return { record: Math.floor(along * one.steps.length), layer: Math.floor(up * one.layers.length) };
}
