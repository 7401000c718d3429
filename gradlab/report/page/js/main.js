// Everything in its place, once the page is there.

const DRAWERS = { lines: drawLines, maps: drawMaps, plane: drawPlanes, quantiles: drawQuantiles, regions: drawRegions };

document.documentElement.classList.add("js");
document.body.append(tooltip.box, tooltip.voice);
makeFilters(document.getElementById("filters"));
makeTable(document.getElementById("summary-table"));
for (const host of document.querySelectorAll("[data-figure]")) {
  const figure = DATA.figures[Number(host.dataset.figure)];
  host.replaceChildren();
  DRAWERS[figure.kind](figure, host);
  if (figure.thinned) host.append(html("p", { class: "note" }, "Of longer trainings some of the recorded steps are drawn, evenly."));
}
