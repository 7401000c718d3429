// What networks decide all over the plane of two features, before and after training, with examples as points.

function drawRegions(figure, host) {
  const byGroup = new Map();
  for (const region of figure.regions) byGroup.set(region.group, [...(byGroup.get(region.group) ?? []), region]);
  let seed = null;
  const seedsOf = (regions) => [...new Set(regions.map((region) => region.seed))].sort((one, other) => one - other);

  // The regions of a group's chosen seed, or of its first.
  function of(group) {
    const own = byGroup.get(group);
    const seeds = seedsOf(own);
    const shown = seeds.includes(seed) ? seed : seeds[0];
    return own.filter((region) => region.seed === shown).sort((one, other) => one.step - other.step);
  }

  if ([...byGroup.values()].some((own) => seedsOf(own).length > 1)) {
    const options = seedsOf(figure.regions).map((value) => [value, String(value)]);
    host.append(html("div", { class: "controls" }, choice("seed", options, null, (value) => ((seed = Number(value)), update()))));
  }
  const sheets = makeSheets(host, {
    first: 6,
    wide: true,
    draw: (group) => html("div", { class: "pair" }, ...of(group).map((region) => regionPicture(region))),
  });
  host.append(html("p", { class: "note" }, `Across: ${figure.x}. Up: ${figure.y}. Points are examples in the colour and shape of their own class.`));
  const update = () => sheets(selection.visible().filter((group) => byGroup.has(group)));
  selection.onChange(update);
  update();
}

// Class -> [tint of its region, colour of its points].
const CLASSES = ["0072b2", "d55e00", "009e73", "cc79a7", "e69f00", "56b4e9", "4a4f57", "b8a800"].map((hex) => {
  const full = channels(hex);
  return { tint: full.map((value) => Math.round(value + 0.66 * (255 - value))), full: full.map((value) => Math.round(value * 0.82)) };
});

function regionPicture(region) {
  const n = region.resolution;
  const canvas = html("canvas", { width: n, height: n, "aria-hidden": "true" });
  const context = canvas.getContext("2d");
  const image = context.createImageData(n, n);
  const decision = runsOf(region.decision, n * n);
  for (let row = 0; row < n; row++) {
    for (let column = 0; column < n; column++) {
      const { tint } = CLASSES[decision[row * n + column] % NAMED];
      image.data.set([...tint, 255], 4 * ((n - 1 - row) * n + column));
    }
  }
  context.putImageData(image, 0, 0);
  Object.assign(canvas.style, { left: "0", top: "0", width: "100%", height: "100%" });
  const when = region.step === 0 ? "untrained" : `after ${region.step} steps`;
  const label = `${LABELS[region.group]}, seed ${region.seed}, ${when}: regions of ${region.classes} classes`;
  const picture = html("div", { class: "stack", role: "img", "aria-label": label }, canvas, regionPoints(region));
  return html("div", {}, picture, html("p", { class: "under" }, when));
}

function regionPoints(region) {
  const [left, right, bottom, top] = region.box;
  const classes = bytesOf(region.classOf);
  const [xs, ys] = region.points.map((packed) => realsOf(packed, classes.length));
  const root = svg("svg", { viewBox: "0 0 200 200", "aria-hidden": "true", class: "points" });
  for (let i = 0; i < classes.length; i++) {
    const x = (200 * (xs[i] - left)) / (right - left);
    const y = 200 - (200 * (ys[i] - bottom)) / (top - bottom);
    if (!(x >= 0 && x <= 200 && y >= 0 && y <= 200)) continue;
    const place = classes[i] % NAMED;
    const turn = `translate(${x.toFixed(1)} ${y.toFixed(1)}) scale(0.75)`;
    root.append(svg("path", { d: MARKS[place], fill: rgb(CLASSES[place].full), stroke: "#fff", "stroke-width": 0.8, transform: turn }));
  }
  return root;
}
