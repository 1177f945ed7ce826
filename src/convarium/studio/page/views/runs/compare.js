// Several runs beside each other: their curves, and the settings in which they differ.

import { curvesOf, extended } from "./curves.js";

const MOST = 6;

export async function compare(root, context, names) {
  const { api, el, card, table, notice } = context;
  root.append(el("p", {}, el("a", { href: "#/runs" }, "All runs")), el("h1", {}, "Runs beside each other"));
  const chosen = names.slice(0, MOST);
  if (names.length > MOST) root.append(notice(`The first ${MOST} of ${names.length} runs are shown.`));
  const place = el("div", {});
  const below = el("div", {});
  root.append(card("Learning", place), below);
  const known = new Map(chosen.map((name) => [name, { name, rows: [], kept: null }]));
  let metric = "";
  const states = {};
  const take = async () => {
    let fresh = false;
    for (const run of known.values()) {
      const told = await api("runs/history", { query: { run: run.name, after: run.rows.length } });
      const before = run.rows;
      run.rows = extended(before, told);
      metric = metric || told.metric;
      states[run.name] = told.state;
      fresh = fresh || told.rows.length > 0 || run.rows.length < before.length;
    }
    if (fresh || !place.childElementCount) context.clear(place).append(curvesOf(context, [...known.values()], metric));
    return Object.values(states).includes("training");
  };
  const live = await take();
  const tables = await Promise.all(chosen.map((run) => api("runs/settings", { query: { run } })));
  const keys = [...new Set(tables.flatMap((each) => Object.keys(each.settings)))];
  const rows = keys.filter((key) => new Set(tables.map((each) => each.settings[key] ?? "")).size > 1);
  below.append(card("Settings in which they differ", table([
    { label: "setting", cell: (key) => key, sort: (key) => key },
    ...tables.map((each) => ({ label: each.run, cell: (key) => each.settings[key] ?? "–" })),
  ], rows, { caption: "Settings that differ", quiet: true, empty: "They have the same settings." })));
  if (live) context.follow(take, place, 2000);
}
