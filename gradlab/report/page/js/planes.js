// A statistic over two settings: a cell for each pair, and theory's curve over them.

function drawPlanes(figure, host) {
  const diverging = figure.log && /decay/.test(figure.quantity);
  const told = written(figure.log);
  const grid = html("div", { class: "sheets wide" });
  const legend = html("div");
  host.append(grid, legend);

  const isShown = ([x, y, , , , group]) =>
    group === null ? selection.showsValue(figure.x, x) && selection.showsValue(figure.y, y) : selection.shows(group);

  function draw(width) {
    const cells = figure.cells.filter(isShown);
    if (!cells.length) {
      legend.replaceChildren();
      return grid.replaceChildren(html("p", { class: "empty" }, "No group passes the filters."));
    }
    const scale = colourScale(rangeOf([cells.map((cell) => cell[3]).filter((value) => value !== null)]), diverging);
    const columns = Math.max(1, Math.min(Math.floor(width / 336), figure.panels.length));
    grid.style.gridTemplateColumns = figure.panels.length > 1 ? `repeat(${columns}, minmax(0, 1fr))` : "minmax(0, 40rem)";
    const room = figure.panels.length > 1 ? (width - 18 * (columns - 1)) / columns : Math.min(width, 640);
    grid.replaceChildren(
      ...figure.panels
        .map((panel) => [panel, cells.filter((cell) => cell[2] === panel)])
        .filter(([, own]) => own.length)
        .map(([panel, own]) => planePanel(figure, panel, own, Math.round(room), scale, told)),
    );
    legend.replaceChildren(scaleBar(scale, told));
    legend.firstElementChild.append(html("span", {}, figure.quantity));
    if (grid.querySelector(".curve")) legend.firstElementChild.append(html("span", {}, `dashed: ${figure.curveLabel || "theory"}`));
  }

  selection.onChange(drawnToFit(host, draw));
}

function planePanel(figure, panel, cells, width, scale, told) {
  const xs = figure.xs.values.filter((value) => cells.some((cell) => cell[0] === value));
  const ys = figure.ys.values.filter((value) => cells.some((cell) => cell[1] === value));
  const longest = Math.max(...ys.map((value) => value.length));
  const left = Math.min(24 + 6.5 * longest, width * 0.4);
  const cell = Math.max(26, Math.min(46, 300 / ys.length));
  const names = labelsBelow(xs, (width - left - 8) / xs.length);
  const chart = frame(width, Math.round(24 + ys.length * cell + 30 + names.height), { left, right: 8, top: 24, bottom: 30 + names.height });
  const across = (chart.right - chart.left) / xs.length;
  const column = (i) => chart.left + i * across;
  const row = (i) => chart.bottom - (i + 1) * cell;
  const texts = svg("g");
  for (const [x, y, , value, , group] of cells) {
    const [i, j] = [xs.indexOf(x), ys.indexOf(y)];
    const colour = value === null ? null : scale.of(value);
    const box = { x: column(i) + 1, y: row(j) + 1, width: Math.max(across - 2, 1), height: cell - 2, rx: 2 };
    const name = ["cell", colour ? "" : "axis", group !== null && group === selection.chosen ? "chosen" : ""].join(" ");
    chart.root.append(svg("rect", { ...box, fill: colour ? rgb(colour) : "none", class: name }));
    const text = value === null ? "–" : told(value);
    if (text.length * 6.6 < across - 6) {
      const ink = !colour ? null : isLight(colour) ? "on-light" : "on-dark";
      const at = { x: column(i) + across / 2, y: row(j) + cell / 2 + 4, "text-anchor": "middle" };
      texts.append(svg("text", { ...at, class: `halo ${ink}`, stroke: colour && rgb(colour) }, text));
    }
  }
  ys.forEach((value, j) => chart.root.append(svg("text", { x: chart.left - 8, y: row(j) + cell / 2 + 4, "text-anchor": "end" }, clipped(value, left))));
  names.draw(chart, (i) => column(i) + across / 2);
  chart.root.append(
    svg("text", { x: 0, y: 12, class: "name" }, figure.y),
    svg("text", { x: chart.right, y: chart.height - 2, "text-anchor": "end", class: "name" }, figure.x),
  );
  drawCurve(chart, figure, panel, placeOn(figure.xs, xs, column, across), placeOn(figure.ys, ys, (j) => row(j) + cell, -cell), across);
  chart.root.append(texts);
  const area = html("div", { role: "img", "aria-label": `${figure.alt} ${panel}` }, chart.root);
  let pointed = null;
  const cellAt = (x, y) => {
    const [i, j] = [Math.floor((x - chart.left) / across), Math.floor((chart.bottom - y) / cell)];
    return cells.find((one) => one[0] === xs[i] && one[1] === ys[j]);
  };
  area.addEventListener("click", () => pointed !== null && selection.choose(pointed));
  explained(area, (x, y) => {
    const found = cellAt(x, y);
    pointed = found ? found[5] : null;
    if (!found) return null;
    const trials = `${found[4]} trial${found[4] === 1 ? "" : "s"}`;
    return { lines: [`${figure.x} ${found[0]}, ${figure.y} ${found[1]}`, `${figure.quantity}: ${told(found[3])}`, trials] };
  });
  return html("div", { class: "sheet" }, panel ? html("h3", {}, panel) : null, area);
}

const clipped = (text, width) => (text.length * 6.5 > width - 6 ? `${text.slice(0, Math.max(3, Math.floor(width / 6.5) - 3))}…` : text);

// Labels under columns: level where there is room, else slanted.
function labelsBelow(texts, room) {
  const longest = Math.max(...texts.map((text) => text.length));
  const level = longest * 7 < room - 4;
  return {
    height: level ? 8 : Math.min(longest, 18) * 4.6,
    draw(chart, at) {
      texts.forEach((text, i) => {
        const [x, y] = [at(i), chart.bottom + 16];
        const turned = level ? { "text-anchor": "middle" } : { "text-anchor": "end", transform: `rotate(-40 ${x} ${y - 4})` };
        chart.root.append(svg("text", { x, y: level ? y : y - 4, ...turned }, clipped(text, level ? 999 : 130)));
      });
    },
  };
}

// Where a value of a curve stands among the cells of an axis: a number between their middles in proportion, a name in its
// own; NaN where it is outside of them.
function placeOn(axis, shown, start, size) {
  const numbers = axis.numbers && shown.map((text) => axis.numbers[axis.values.indexOf(text)]);
  return (value) => {
    const middle = (i) => start(i) + size / 2;
    if (!numbers) return shown.includes(String(value)) ? middle(shown.indexOf(String(value))) : NaN;
    if (value === null) return NaN;
    if (numbers.length < 2) return value === numbers[0] ? middle(0) : NaN;
    let i = numbers.findIndex((number) => number >= value);
    if (i === -1) i = numbers.length - 1;
    i = Math.max(i, 1);
    const share = (value - numbers[i - 1]) / (numbers[i] - numbers[i - 1]);
    // Beyond the first and the last middle there is half a cell.
    return share < -0.5 || share > 1.5 ? NaN : middle(i - 1) + Math.min(Math.max(share, -0.5), 1.5) * (middle(i) - middle(i - 1));
  };
}

// The curve; over names, which have nothing between them, a level piece across each.
function drawCurve(chart, figure, panel, x, y, across) {
  const points = figure.curve.filter(([, , own]) => own === null || own === panel).map(([at, up]) => [x(at), y(up)]);
  const pieces = points.map(([at, up]) => pathOf([[at - across / 2, up], [at + across / 2, up]]));
  const path = figure.xs.numbers ? pathOf(points) : pieces.join("");
  if (path) chart.root.append(svg("path", { d: path, class: "curve-back" }), svg("path", { d: path, class: "curve" }));
}
