// The summary table: sorted by a press on a header, filtered, and a row chosen by a press on it.

function makeTable(table) {
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const headers = [...table.querySelectorAll("th[data-sort]")];

  function keyOf(row, column) {
    const text = row.cells[column].getAttribute("data-key");
    if (text === null) return null;
    const value = Number(text);
    return Number.isNaN(value) ? text : value;
  }

  function sortBy(header) {
    const rising = header.getAttribute("aria-sort") !== "ascending";
    headers.forEach((other) => other.removeAttribute("aria-sort"));
    header.setAttribute("aria-sort", rising ? "ascending" : "descending");
    const column = Number(header.dataset.sort);
    const keyed = rows.map((row) => [keyOf(row, column), row]);
    keyed.sort(([one], [other]) => {
      if (one === null || other === null) return (one === null) - (other === null);
      const order = one < other ? -1 : one > other ? 1 : 0;
      return rising ? order : -order;
    });
    body.append(...keyed.map(([, row]) => row));
  }

  for (const header of headers) {
    header.replaceChildren(html("button", { type: "button", click: () => sortBy(header) }, header.textContent));
  }

  body.addEventListener("click", (event) => {
    const row = event.target.closest("tr");
    if (row && !String(getSelection())) selection.choose(Number(row.dataset.group));
  });

  function update() {
    for (const row of rows) {
      const group = Number(row.dataset.group);
      row.hidden = !selection.shows(group);
      row.classList.toggle("chosen", group === selection.chosen);
    }
  }

  selection.onChange(update);
  update();
}
