// Charts as SVG: lines over a common axis, with a legend and the values below the pointer.

import { clear, el, svg } from "./elements.js";
import { number } from "./figures.js";

const WIDTH = 420, LEFT = 54, RIGHT = 14, TOP = 26, BOTTOM = 38;
/** Classes of colours for lines that stand beside one another. */
export const COLOURS = ["c0", "c1", "c2", "c3", "c4", "c5"];

function steps(low, high, most = 5) {
  const raw = (high - low) / most || 1;
  const size = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((k) => k * size).find((each) => each >= raw);
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, k) => Number(((first + k) * step).toPrecision(12)));
}

function decades(low, high) {
  const found = [];
  for (let e = Math.floor(Math.log10(low)); 10 ** e <= high * 1.0001; e++) if (10 ** e >= low * 0.9999) found.push(10 ** e);
  return found.length >= 2 ? found : [low, Math.sqrt(low * high), high].map((each) => Number(each.toPrecision(2)));
}

/**
 * A line chart. lines: [{ name, points: [[x, y], ...], colour: "c0" (or any class), dashed }].
 * options: title (what it says to those who do not see it), x and y (words at the axes), low and
 * high (of y), logarithmic, format (of y), formatX, marks ([{ x, words }]), height, dots.
 */
export function lineChart(lines, { title, x = "", y = "", low, high, logarithmic = false, format = number, formatX = number, marks = [], height = 250, dots = false } = {}) {
  const usable = lines.map((line) => ({ ...line, points: line.points.filter(([a, b]) => Number.isFinite(a) && Number.isFinite(b) && (!logarithmic || b > 0)) }));
  const points = usable.flatMap((line) => line.points);
  const figure = el("figure", { class: "chart" });
  if (!points.length) {
    figure.append(el("p", { class: "soft" }, "No values yet."));
    return figure;
  }
  const xs = points.map((p) => p[0]), ys = points.map((p) => p[1]);
  let [x0, x1] = [Math.min(...xs), Math.max(...xs)];
  if (x0 === x1) [x0, x1] = [x0 - 0.5, x1 + 0.5];
  let [y0, y1] = [low ?? Math.min(...ys), high ?? Math.max(...ys)];
  if (y0 === y1) [y0, y1] = logarithmic ? [y0 / 2, y1 * 2] : [y0 - (Math.abs(y0) || 1) * 0.1, y1 + (Math.abs(y1) || 1) * 0.1];
  else if (!logarithmic) {
    const room = 0.05 * (y1 - y0);
    [y0, y1] = [low ?? y0 - room, high ?? y1 + room];
  }
  const scale = logarithmic ? Math.log10 : (value) => value;
  const right = WIDTH - RIGHT, bottom = height - BOTTOM;
  const px = (value) => LEFT + ((value - x0) / (x1 - x0)) * (right - LEFT);
  const py = (value) => bottom - ((scale(value) - scale(y0)) / (scale(y1) - scale(y0))) * (bottom - TOP);
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${height}`, role: "img", "aria-label": title ?? usable.map((line) => line.name).join(", ") });
  for (const tick of logarithmic ? decades(y0, y1) : steps(y0, y1)) {
    drawing.append(svg("line", { class: "rule", x1: LEFT, x2: right, y1: py(tick), y2: py(tick) }),
      svg("text", { class: "tick", x: LEFT - 7, y: py(tick) + 4, "text-anchor": "end" }, format(tick)));
  }
  const whole = xs.every(Number.isInteger);
  for (const tick of steps(x0, x1, 6).filter((each) => !whole || Number.isInteger(each))) {
    drawing.append(svg("text", { class: "tick", x: px(tick), y: bottom + 16, "text-anchor": "middle" }, formatX(tick)));
  }
  drawing.append(svg("text", { class: "axis", x: right, y: height - 5, "text-anchor": "end" }, x),
    svg("text", { class: "axis", x: 2, y: 13 }, y));
  for (const mark of marks) {
    drawing.append(svg("line", { class: "mark", x1: px(mark.x), x2: px(mark.x), y1: TOP, y2: bottom }, svg("title", {}, mark.words)));
  }
  usable.forEach((line, k) => {
    const colour = line.colour ?? COLOURS[k % COLOURS.length];
    const path = line.points.map(([a, b], i) => `${i ? "L" : "M"}${px(a).toFixed(1)},${Math.min(bottom, Math.max(TOP, py(b))).toFixed(1)}`).join("");
    drawing.append(svg("path", { class: `curve ${colour}${line.dashed ? " dashed" : ""}`, d: path }));
    const alone = line.points.length === 1;
    if (dots || alone) line.points.forEach(([a, b]) => drawing.append(svg("circle", { class: `dot ${colour}`, cx: px(a), cy: py(b), r: alone ? 3.5 : 2.5 })));
  });
  figure.append(drawing, legend(usable), reading(drawing, usable, { px, x0, x1, x, format, formatX, bottom }));
  return figure;
}

function legend(lines) {
  if (lines.length < 2) return "";
  return el("ul", { class: "legend" }, lines.map((line, k) =>
    el("li", {}, el("i", { class: `${line.colour ?? COLOURS[k % COLOURS.length]}${line.dashed ? " dashed" : ""}` }), line.name)));
}

function reading(drawing, lines, { px, x0, x1, x, format, formatX, bottom }) {
  const words = el("figcaption", { class: "reading", "aria-live": "off" }, "\u00a0");
  const rule = svg("line", { class: "pointer", y1: TOP, y2: bottom, visibility: "hidden" });
  drawing.append(rule);
  drawing.addEventListener("pointermove", (event) => {
    const box = drawing.getBoundingClientRect();
    const at = x0 + ((((event.clientX - box.left) / box.width) * WIDTH - LEFT) / (WIDTH - RIGHT - LEFT)) * (x1 - x0);
    const nearest = lines.flatMap((line) => line.points).reduce((best, p) => (Math.abs(p[0] - at) < Math.abs(best[0] - at) ? p : best));
    for (const [name, value] of [["x1", px(nearest[0])], ["x2", px(nearest[0])], ["visibility", "visible"]]) rule.setAttribute(name, value);
    const values = lines.map((line) => [line.name, line.points.find((p) => p[0] === nearest[0])]).filter(([, p]) => p);
    words.textContent = `${x} ${formatX(nearest[0])}: ` + values.map(([name, p]) => `${name} ${format(p[1])}`).join(", ");
  });
  drawing.addEventListener("pointerleave", () => {
    rule.setAttribute("visibility", "hidden");
    words.textContent = "\u00a0";
  });
  return words;
}

/** Draw again in the place of an earlier drawing. */
export const redraw = (place, drawing) => clear(place).append(drawing);
