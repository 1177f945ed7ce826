// Plain against residual: the gradient at every convolution, from the stored experiment.

import { slider } from "../../drawings.js";

const STYLES = {
  plain20_cifar: { name: "plain, 20 layers", colour: "c1", dashed: true },
  plain56_cifar: { name: "plain, 56 layers", colour: "c1" },
  resnet20_cifar: { name: "residual, 20 layers", colour: "c0", dashed: true },
  resnet56_cifar: { name: "residual, 56 layers", colour: "c0" },
};

export async function show(root, { api, el, card, table, percent, number, lineChart, redraw }) {
  const told = await api("learn/gradients");
  const chart = el("div", {});
  const draw = (epoch) => redraw(chart, lineChart(told.networks.map((each) => ({
    ...STYLES[each.name],
    points: each.epochs[epoch].map(([, mean], k, all) => [(100 * k) / (all.length - 1), mean]),
  })), { title: "Norm of the gradient at each convolution's weights", x: "way from the first to the last convolution, %", logarithmic: true, height: 300 }));
  const last = told.networks[0].epochs.length - 1;
  const spread = ({ mean, interval }) => `${percent(mean)} (${interval.map((each) => percent(each)).join(" to ")})`;
  const first = told.networks.map((each) => `${number(each.epochs[0][0][1], 3)} (${STYLES[each.name].name})`).join(", ");
  const images = told.settings.images.toLocaleString("en-US");
  root.append(
    el("p", { class: "lead" }, "Deeper plain networks fit even what they learn from worse. Shortcuts let the gradient pass: to do nothing, a block only has to be 0."),
    el("div", { class: "columns" }, card("The gradient's norm, layer by layer",
      el("div", { class: "row" }, slider("After epoch", { low: 0, high: last, value: 0, told: (epoch) => (epoch ? String(epoch) : "0, before the first step") }, draw)), chart,
      el("p", { class: "soft" }, `Means over ${told.networks[0].seeds.length} seeds, on one batch of training images. Before the first step the gradient at the first convolution is ${first}.`)),
    card("What came of it", table([
      { label: "network", cell: (row) => STYLES[row.name].name },
      { label: "training error", cell: (row) => spread(row.train_error), number: true },
      { label: "test error", cell: (row) => spread(row.test_error), number: true },
    ], told.networks, { caption: "Mean over the seeds, and its 95 % interval" }),
    el("p", { class: "soft" }, Object.entries(told.differences).map(([name, row]) =>
      `${name.startsWith("plain") ? "Plain" : "Residual"}, 56 less 20 layers: ${points(row.train_error)} points of training error. `),
      `${images} images of Fashion-MNIST, ${told.settings.recipe.epochs} epochs, ${told.networks[0].seeds.length} seeds; ${told.machine.processor}, torch ${told.versions.torch}, ${told.date}. `,
      el("code", {}, told.command)))));
  draw(0);
}

const points = ({ mean, interval }) => {
  const signed = (value) => `${value > 0 ? "+" : ""}${(100 * value).toFixed(1)}`;
  return `${signed(mean)} (${interval.map(signed).join(" to ")})`;
};
