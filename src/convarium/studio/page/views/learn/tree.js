// The tree of dilated causal convolutions: what the last step sees.

import { newest, slider } from "../../drawings.js";

const WIDTH = 900, ROW = 46, MOST_EDGES = 4000;

export async function show(root, context) {
  const { api, el, clear, card, field, notice, number, lineChart, redraw } = context;
  const how = { num_layers: 4, kernel_size: 2, convs_per_layer: 1, dilation_base: 2, target: 100 };
  const trouble = el("div", {}), place = el("div", {}), chart = el("div", {});
  const words = el("p", { role: "status" }), needed = el("p", { class: "soft" });
  const asked = newest((query) => api("learn/tree", { query }), (told) => {
    clear(trouble);
    words.textContent = `The last step sees ${number(told.field)} steps: ${told.words}.`;
    needed.textContent = told.needed === null
      ? "One tap sees one step, however deep the network is."
      : `${number(how.target)} steps take ${number(told.needed)} blocks of this kind.`;
    clear(place).append(told.levels.length ? tree(context, told, how) : el("p", { class: "soft" }, "Too wide to be drawn."));
    place.parentElement.scrollLeft = place.scrollWidth; // where the last step is
    redraw(chart, lineChart([{ name: "field", points: told.curve }], { title: "Field by blocks", x: "blocks", logarithmic: how.dilation_base > 1, height: 220, dots: true, marks: [{ x: how.num_layers, words: "as drawn" }] }));
  }, (error) => clear(trouble).append(notice(error.message)));
  const ask = () => asked({ ...how });
  const set = (name, label, low, high) => slider(label, { low, high, value: how[name] }, (value) => { how[name] = value; ask(); });
  const target = el("input", { type: "number", min: 1, value: "100", oninput: (event) => { if (event.target.valueAsNumber >= 1) { how.target = Math.round(event.target.valueAsNumber); ask(); } } });
  root.append(
    el("p", { class: "lead" }, "A causal network sees only what came before. Each block's taps stand further apart than those of the block below, so that the field grows by a factor a block and not by a step."),
    trouble,
    card(null, el("div", { class: "row" },
      set("num_layers", "Blocks", 1, 8), set("kernel_size", "Taps", 1, 8), set("convs_per_layer", "Convolutions a block", 1, 2), set("dilation_base", "Dilation grows by", 1, 4)),
      words, el("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Tree" }, place)),
    el("div", { class: "columns" },
      card("The field by blocks", chart),
      card("How deep for a field?", el("div", { class: "row" }, field("Steps to see", target)), needed)));
  await ask();
}

function tree({ svg }, told, { kernel_size: taps }) {
  const high = told.levels.length * ROW + 40;
  const gap = Math.min(44, (WIDTH - 150) / Math.max(1, told.field - 1));
  const x = (step) => WIDTH - 16 - step * gap;
  const y = (level) => 16 + level * ROW;
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${high}`, width: WIDTH, height: high, class: "tree", role: "img", "aria-label": `The tree of the last step: ${told.levels.map((level) => `dilation ${level.dilation} sees ${level.steps.length}`).join(", ")}` });
  let edges = 0;
  let above = [0];
  const dot = (step, row) => svg("circle", { class: "dot c0", cx: x(step), cy: y(row), r: Math.max(1, Math.min(5, gap / 3)) });
  const points = [dot(0, 0)];
  told.levels.forEach((level, row) => {
    drawing.append(svg("text", { class: "tick", x: 4, y: y(row) + ROW / 2 + 4 }, `block ${level.layer}, dilation ${level.dilation}`));
    for (const step of above) for (let tap = 0; tap < taps && edges < MOST_EDGES; tap++, edges++) {
      drawing.append(svg("line", { class: "branch", x1: x(step), y1: y(row), x2: x(step + tap * level.dilation), y2: y(row + 1) }));
    }
    level.steps.forEach((step) => points.push(dot(step, row + 1)));
    above = level.steps;
  });
  drawing.append(...points, svg("text", { class: "tick", x: WIDTH - 16, y: high - 4, "text-anchor": "end" }, "now"));
  return drawing;
}
