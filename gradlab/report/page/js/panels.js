// Many small drawings, one a group: some at first, all of them on request.

function makeSheets(host, { first, wide, draw, pick, isPicked }) {
  const grid = html("div", { class: wide ? "sheets wide" : "sheets" });
  const more = html("button", { type: "button", class: "more", click: () => ((everything = true), update()) });
  let everything = false;
  let groups = [];
  host.append(grid, html("p", {}, more));

  // The chosen group comes first where not all are shown.
  function order() {
    const chosen = selection.chosen;
    if (everything || !groups.includes(chosen) || groups.indexOf(chosen) < first) return groups;
    return [chosen, ...groups.filter((group) => group !== chosen)];
  }

  function update(now = groups) {
    groups = now;
    const shown = everything ? groups : order().slice(0, first);
    grid.replaceChildren(...shown.map((group) => sheet(group)));
    more.hidden = shown.length === groups.length;
    more.textContent = `Show all ${groups.length} groups`;
  }

  function sheet(group) {
    const heading = html("h3", {}, LABELS[group]);
    if (!pick) {
      const element = html("div", { class: "sheet" }, heading);
      element.append(draw(group));
      return element;
    }
    const pressed = String(isPicked(group));
    const attributes = { type: "button", class: "sheet", "aria-pressed": pressed, click: () => pick(group) };
    return html("button", attributes, heading, draw(group));
  }

  return update;
}
