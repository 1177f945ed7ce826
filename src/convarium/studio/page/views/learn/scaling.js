// Compound scaling: the law, and the published EfficientNets beside it.

import { newest, slider } from "../../drawings.js";

export async function show(root, context) {
  const { api, el, clear, card, notice, number, count, lineChart, table } = context;
  const how = { phi: 1, alpha: 1.2, beta: 1.1, gamma: 1.15 };
  const trouble = el("div", {}), place = el("div", {});
  const asked = newest((query) => api("learn/scaling", { query }), (told) => {
    clear(trouble);
    const { depth, width, resolution, flops } = told.factors;
    const tile = (name, value) => el("div", {}, el("dt", {}, name), el("dd", {}, `${value.toPrecision(3)} times`));
    clear(place).append(
      card(null, el("dl", { class: "tiles" }, tile("depth", depth), tile("width", width), tile("resolution", resolution), tile("multiply-adds", flops)),
        el("p", { class: "soft" }, `depth x width² x resolution²: with these factors each step of the coefficient costs ${told.step.toPrecision(3)} times as much.`)),
      el("div", { class: "columns" },
        card("The law and the published networks", lineChart([
          { name: "the law", points: told.published.map((row) => [row.phi, row.law]) },
          { name: "EfficientNet-B0 to B7", points: told.published.map((row) => [row.phi, row.times]) },
        ], { title: "Multiply-adds as a multiple of B0", x: "coefficient", logarithmic: true, dots: true, height: 260 })),
        card("Published", table([
          { label: "network", cell: (row) => row.name },
          { label: "size", cell: (row) => row.size, number: true },
          { label: "width", cell: (row) => row.width, number: true },
          { label: "depth", cell: (row) => row.depth, number: true },
          { label: "parameters", cell: (row) => count(row.parameters), number: true },
          { label: "times B0's MACs", cell: (row) => row.times.toPrecision(3), number: true },
          { label: "by the law", cell: (row) => row.law.toPrecision(3), number: true },
        ], told.published, { caption: "They are no exact powers: the paper rounds" }))));
  }, (error) => clear(trouble).append(notice(error.message)));
  const ask = () => asked({ ...how });
  const set = (name, words, low, high, step) => slider(words, { low, high, step, value: how[name], told: (value) => number(value, 3) }, (value) => { how[name] = value; ask(); });
  root.append(
    el("p", { class: "lead" }, "A network grows in depth, in width and in the size of its input. EfficientNet grows all three by one coefficient, so that none of them is the narrow place."),
    trouble,
    card(null, el("div", { class: "row" },
      set("phi", "Coefficient", 0, 7, 0.5), set("alpha", "Depth", 1, 1.5, 0.01), set("beta", "Width", 1, 1.5, 0.01), set("gamma", "Resolution", 1, 1.5, 0.01))),
    place);
  await ask();
}
