// The frame of a chart: grid, ticks, labels.

// A chart of a size, with room for its axes, and what to draw in.
function frame(width, height, margin) {
  const box = {
    left: margin.left,
    right: Math.max(width - margin.right, margin.left + 10),
    top: margin.top,
    bottom: height - margin.bottom,
  };
  const root = svg("svg", { class: "chart", viewBox: `0 0 ${width} ${height}`, width, height, "aria-hidden": "true" });
  return { ...box, root, width, height };
}

function yAxis(chart, scale, values, label, text) {
  for (const value of values) {
    const y = Math.round(scale(value)) + 0.5;
    chart.root.append(
      svg("line", { class: "grid", x1: chart.left, x2: chart.right, y1: y, y2: y }),
      svg("text", { x: chart.left - 8, y: y + 4, "text-anchor": "end" }, label(value)),
    );
  }
  // Above the axis, not along it: it is read without turning one's head.
  if (text) chart.root.append(svg("text", { x: 0, y: 12, class: "name" }, text));
}

function xAxis(chart, scale, values, label, text) {
  const y = chart.bottom + 0.5;
  chart.root.append(svg("line", { class: "axis", x1: chart.left, x2: chart.right, y1: y, y2: y }));
  for (const value of values) {
    const x = scale(value);
    chart.root.append(
      svg("line", { class: "axis", x1: x, x2: x, y1: y, y2: y + 4 }),
      svg("text", { x, y: y + 18, "text-anchor": "middle" }, label(value)),
    );
  }
  if (text) chart.root.append(svg("text", { x: chart.right, y: chart.height - 2, "text-anchor": "end", class: "name" }, text));
}

// A path through points; a gap where one is missing, and a dot where one is alone.
function pathOf(points) {
  let path = "";
  let pen = "M";
  for (const [x, y] of points) {
    if (Number.isFinite(x) && Number.isFinite(y)) {
      path += `${pen}${x.toFixed(1)} ${y.toFixed(1)}${pen === "M" ? "h0" : ""}`;
      pen = "L";
    } else {
      pen = "M";
    }
  }
  return path;
}

// The area between two lines of the same x, in pieces where both are known.
function bandOf(xs, lows, highs) {
  let path = "";
  let piece = [];
  const close = () => {
    if (piece.length > 1) {
      const there = piece.map((i) => `${xs[i].toFixed(1)} ${highs[i].toFixed(1)}`);
      const back = piece.reverse().map((i) => `${xs[i].toFixed(1)} ${lows[i].toFixed(1)}`);
      path += `M${there.join("L")}L${back.join("L")}Z`;
    }
    piece = [];
  };
  xs.forEach((_, i) => (Number.isFinite(lows[i]) && Number.isFinite(highs[i]) ? piece.push(i) : close()));
  close();
  return path;
}
