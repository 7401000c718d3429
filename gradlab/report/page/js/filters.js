// The factors as filters: a box to tick for each value.

function makeFilters(host) {
  const total = LABELS.length;
  const factors = DATA.factors.filter((factor) => factor.values.length > 1);
  if (total < 2 || !factors.length) return;
  const count = html("output", { "aria-live": "polite" });
  const sets = factors.map((factor) => filterOf(factor));
  const all = html("button", { type: "button", click: () => untickNothing() }, "Show all");
  const panel = html("div", { class: "factors", id: "factors" }, ...sets.map((set) => set.element));
  const opener = html(
    "button",
    { type: "button", "aria-expanded": "false", "aria-controls": "factors", click: () => open(panel.hidden) },
    "Filter",
  );
  const clear = html("button", { type: "button", class: "pull", click: () => selection.choose(selection.chosen) }, "");

  function open(yes) {
    panel.hidden = !yes;
    opener.setAttribute("aria-expanded", String(yes));
  }

  function untickNothing() {
    selection.off.forEach((set) => set.clear());
    sets.forEach((set) => set.update());
    selection.changed();
  }

  function update() {
    const shown = selection.visible().length;
    count.textContent = shown === total ? `all ${total} groups` : `${shown} of ${total} groups`;
    all.hidden = shown === total;
    clear.hidden = selection.chosen === null;
    clear.textContent = selection.chosen === null ? "" : `${LABELS[selection.chosen]} ×`;
    clear.setAttribute("aria-label", selection.chosen === null ? "" : `no longer point out ${LABELS[selection.chosen]}`);
  }

  host.append(html("div", { class: "bar" }, opener, count, all, clear), panel);
  const letters = factors.flatMap((factor) => factor.values).reduce((sum, text) => sum + text.length + 5, 0);
  open(letters < innerWidth / 10);
  host.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !panel.hidden) {
      open(false);
      opener.focus();
    }
  });
  selection.onChange(update);
  update();
}

function filterOf(factor) {
  const off = selection.off[DATA.factors.indexOf(factor)];
  const boxes = factor.values.map((text, value) => {
    const box = html("input", {
      type: "checkbox",
      change: () => {
        if (box.checked) off.delete(value);
        else off.add(value);
        selection.changed();
      },
    });
    return box;
  });
  const update = () => boxes.forEach((box, value) => (box.checked = !off.has(value)));
  update();
  const labels = boxes.map((box, value) => html("label", {}, box, factor.values[value]));
  const element = html(
    "fieldset",
    {},
    html("legend", {}, factor.name),
    html("div", { class: "choices" }, ...labels),
  );
  return { element, update };
}
