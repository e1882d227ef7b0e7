"use strict";

// Figures. The page holds their data; the style sheet holds their colours, light or dark.
const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const figures = [...document.querySelectorAll("figure[data-scale]")].map((figure) => ({
  figure,
  area: figure.querySelector(".plot"),
  spec: null, // plotly's data and layout, parsed when the figure is first drawn
}));

// A mouse that drags zooms; a finger that drags must scroll the page.
const dragmode = matchMedia("(hover: none)").matches ? false : "zoom";

const hidden = new Set(); // the variants that are not shown

// Draws a figure, or draws it again after its axis, the hidden variants or the colours changed.
function draw(item) {
  const { figure, area } = item;
  item.spec ??= JSON.parse(figure.querySelector("script").textContent);
  const { spec } = item;
  const axis = {
    gridcolor: color("--rule"),
    zerolinecolor: color("--rule"),
    linecolor: color("--strong-rule"),
    tickcolor: color("--strong-rule"),
  };
  const data = spec.data.filter(({ legendgroup }) => !hidden.has(legendgroup)).map((trace) => ({
    ...trace,
    line: { ...trace.line, color: color(trace.meta) },
    marker: { ...trace.marker, color: color(trace.meta) },
  }));
  const marks = (spec.layout.shapes ?? []).map((shape) => ({
    ...shape,
    line: { ...shape.line, color: color(shape.name) },
  }));
  const labels = (spec.layout.annotations ?? []).map((label) => ({
    ...label,
    font: { color: color(label.name) },
  }));
  const layout = {
    ...spec.layout,
    dragmode,
    shapes: marks,
    annotations: labels,
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: color("--sans"), size: 12, color: color("--muted") },
    hoverlabel: {
      bgcolor: color("--panel"),
      bordercolor: color("--strong-rule"),
      font: { color: color("--text") },
    },
    xaxis: { ...spec.layout.xaxis, ...axis },
    yaxis: { type: figure.dataset.scale, ...spec.layout.yaxis, ...axis },
  };
  if (figure.dataset.scale === "log") layout.yaxis.dtick = spec.layout.meta;
  const named = spec.layout.showlegend === false && data.every(({ mode }) => mode === "lines");
  const width = named ? endWidth(area, data) : 0;
  if (named) layout.margin = { ...spec.layout.margin, r: width + LEADER };
  const config = { responsive: true, displayModeBar: false };
  return Plotly.react(area, data, layout, config).then(() => {
    if (!named) return;
    if (!item.ends) {
      item.ends = area.insertAdjacentElement("afterend", document.createElement("div"));
      item.ends.className = "ends";
      area.on("plotly_afterplot", () => nameEnds(item));
    }
    item.endWidth = width;
    nameEnds(item);
  });
}

// Where the page has one legend for all figures, the name of a line's variant stands at its end: in
// the right margin, with a leader from the last point in view.
const LEADER = 18; // pixels, from the axis to a name
const NAME_HEIGHT = 13; // pixels
const NAME_SHARE = 0.34; // of a figure's width, at most
const measuring = document.createElement("canvas").getContext("2d");

// Returns the width of the right margin: that of the longest name, up to NAME_SHARE.
function endWidth(area, data) {
  measuring.font = `11px ${color("--sans")}`;
  const widths = data.map(({ name }) => measuring.measureText(name).width + 2);
  return Math.ceil(Math.min(Math.max(0, ...widths), NAME_SHARE * area.clientWidth));
}

// Returns a line in SVG.
function stroke(path, color, dashes) {
  const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
  line.setAttribute("d", path);
  line.setAttribute("stroke", color);
  line.setAttribute("stroke-dasharray", dashes);
  return line;
}

// Writes the names at the ends of the lines of a figure, and draws their leaders.
function nameEnds({ area, ends, endWidth }) {
  const { xaxis, yaxis } = area._fullLayout;
  const size = { l: xaxis._offset, t: yaxis._offset, w: xaxis._length, h: yaxis._length };
  const byName = new Map(); // the last point in view of each line, by the name of its variant
  for (const { x, y, name, line } of area._fullData) {
    let at = x.length - 1;
    const inside = (across, down) =>
      across > -1 && across < size.w + 1 && down > -1 && down < size.h + 1;
    while (at >= 0 && !inside(xaxis.d2p(x[at]), yaxis.d2p(y[at]))) at -= 1;
    if (at < 0) continue;
    const end = { name, line, across: xaxis.d2p(x[at]), down: yaxis.d2p(y[at]) };
    byName.set(name, [...(byName.get(name) ?? []), end]);
  }
  // Of the runs of a variant, the one whose end is in the middle carries the name.
  const named = [...byName.values()]
    .map((runs) => runs.sort((a, b) => a.down - b.down)[(runs.length - 1) >> 1])
    .sort((a, b) => a.down - b.down);
  // No two names overlap. From the top down, each takes the place nearest to its line that those
  // above leave free; then, from the bottom up, those that stand too low move up.
  let free = -NAME_HEIGHT / 2;
  for (const end of named) {
    end.middle = Math.max(end.down, free + NAME_HEIGHT / 2);
    free = end.middle + NAME_HEIGHT / 2;
  }
  let last = size.h + NAME_HEIGHT / 2;
  for (const end of named.toReversed()) {
    end.middle = Math.min(end.middle, last - NAME_HEIGHT / 2);
    last = end.middle - NAME_HEIGHT / 2;
  }
  const { offsetLeft: left, offsetTop: top, clientWidth, clientHeight } = area;
  ends.style.cssText = `left:${left}px;top:${top}px;width:${clientWidth}px;height:${clientHeight}px`;
  const leaders = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  leaders.setAttribute("aria-hidden", "true");
  ends.replaceChildren(leaders, ...named.map(({ name, line, across, down, middle }) => {
    const [near, far] = [size.l + size.w + 3, size.l + size.w + LEADER - 4];
    const level = size.t + down;
    // A line may end before the axis does. The dots that lead on from there are no data.
    leaders.append(
      stroke(`M${size.l + across},${level}H${near}`, line.color, "1 4"),
      stroke(`M${near - 3},${level}H${near}L${far},${size.t + middle}`, line.color, "none"),
    );
    const text = document.createElement("span");
    text.textContent = text.title = name;
    text.style.width = `${endWidth}px`;
    text.style.top = `${size.t + middle - NAME_HEIGHT / 2}px`;
    return text;
  }));
}

// A figure is drawn when the reader comes near it, so that a page of a hundred runs opens at once.
const drawn = new Set();
const near = new IntersectionObserver(
  (entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      near.unobserve(target);
      const item = figures.find(({ figure }) => figure === target);
      drawn.add(item);
      draw(item);
    }
  },
  { rootMargin: "100% 0px" },
);
figures.forEach(({ figure }) => near.observe(figure));
addEventListener("beforeprint", () => figures.forEach(draw));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawn.forEach(draw));

for (const item of figures) {
  const buttons = item.figure.querySelectorAll(".scale button");
  for (const button of buttons) {
    button.addEventListener("click", () => {
      item.figure.dataset.scale = button.value;
      buttons.forEach((each) => each.setAttribute("aria-pressed", String(each === button)));
      draw(item);
    });
  }
}

// The legend of a comparison. A button shows or hides its variant in every figure, and its audio.
for (const button of document.querySelectorAll(".variants button")) {
  button.addEventListener("click", () => {
    const shown = button.getAttribute("aria-pressed") === "true";
    button.setAttribute("aria-pressed", String(!shown));
    if (shown) hidden.add(button.value);
    else hidden.delete(button.value);
    drawn.forEach(draw);
    for (const take of document.querySelectorAll("[data-variant]")) {
      take.hidden = hidden.has(take.dataset.variant);
    }
  });
}

// Players. Only one plays at a time; the next of the same item continues where the last one was.
document.addEventListener(
  "play",
  ({ target }) => {
    for (const other of document.querySelectorAll("audio")) {
      if (other === target || other.paused) continue;
      if (other.closest(".players") === target.closest(".players")) {
        target.currentTime = other.currentTime;
      }
      other.pause();
    }
  },
  true,
);
