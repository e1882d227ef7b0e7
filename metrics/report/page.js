"use strict";

// Figures: the page holds their data; colours come from the style sheet, light or dark.
const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const figures = [...document.querySelectorAll("figure[data-scale]")].map((figure) => ({
  figure,
  area: figure.querySelector(".plot"),
  spec: null, // read when it is first drawn
}));

// Dragging zooms with a mouse; under a finger it must scroll the page.
const dragmode = matchMedia("(hover: none)").matches ? false : "zoom";

const hidden = new Set(); // variants

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
  return Plotly.react(area, data, layout, { responsive: true, displayModeBar: false });
}

// A figure is drawn when it comes near: a page of a hundred runs is there at once.
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

// The legend of a comparison: an entry shows or hides its variant in every figure.
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

// Players: one sounds at a time, and the next of the same item goes on where the last one was.
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
