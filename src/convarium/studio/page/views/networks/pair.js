// Two networks side by side: their facts, the second as a multiple of the first, and both drawings.

import { drawn } from "../../drawings.js";

const BYTES = /^(bytes|memory)/;

export async function showPair(root, context, one, other) {
  const { api, el, clear, card, table, number, count, bytes, field, select, go, waiting } = context;
  root.append(el("p", {}, el("a", { href: "#/networks" }, "All networks")), el("h1", {}, `${one} and ${other}`));
  const place = el("div", {}, waiting("Measuring"));
  root.append(place);
  let found;
  try {
    found = await Promise.all([api("networks/every"), api("networks/side_by_side", { json: { one, other } })]);
  } catch (error) {
    clear(place);
    throw error;
  }
  const [{ networks }, told] = found;
  const shown = (row, value) => (BYTES.test(row.name) ? bytes(value) : Math.abs(value) >= 1e5 ? count(value) : number(value));
  const names = networks.map((row) => row.name);
  clear(place).append(
    card(null,
      el("div", { class: "row" },
        field("One", select(names, one, (name) => go("networks", name, "with", other))),
        field("Other", select(names, other, (name) => go("networks", one, "with", name)))),
      table([
        { label: "", cell: (row) => row.name },
        { label: one, cell: (row) => shown(row, row.values[0]), number: true },
        { label: other, cell: (row) => shown(row, row.values[1]), number: true },
        { label: "times", cell: (row) => (row.ratio === null ? "–" : number(row.ratio, 3)), number: true },
      ], told.rows, { caption: "For one sample each, of the network's own input" })),
    el("div", { class: "columns" }, told.networks.map((each) =>
      card(each.name,
        el("p", { class: "soft" }, `${each.summary}; input ${each.input}. `, el("a", { href: `#/networks/${encodeURIComponent(each.name)}` }, "All about it")),
        drawn(each.drawing), each.growth ? drawn(each.growth) : null))));
}
