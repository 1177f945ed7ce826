// Runs: all of them; one with its curves, errors and labels; several beside each other.

import { compare } from "./runs/compare.js";
import { one } from "./runs/one.js";

export const title = "Runs";

const WORDS = { training: "trains now", stopped: "stopped before its end; go on with train --resume", damaged: "cannot be read" };

export async function show(root, context, path) {
  if (path[0] === "compare" && path.length > 1) return compare(root, context, path.slice(1));
  if (path.length) return one(root, context, path.join("/"));
  return all(root, context);
}

async function all(root, context) {
  const { api, el, table, percent, seconds, button, go, number } = context;
  const chosen = new Set();
  const start = button("Compare", () => go("runs", "compare", ...chosen), { disabled: true, class: "main" });
  const place = el("div", {});
  root.append(el("h1", {}, "Runs"), el("p", { class: "lead" }, "Trainings as they go on, and what came out. A running one is followed live."), place);
  const score = (value, metric) => (metric === "acc" || metric === "f1" ? percent(value) : number(value));
  const draw = (runs) => {
    const focused = document.activeElement?.dataset?.run;
    context.clear(place).append(context.card(null, table([
      { label: "run", cell: (row) => el("a", { href: `#/runs/${encodeURIComponent(row.name)}` }, row.name), sort: (row) => row.name },
      { label: "state", cell: (row) => el("span", { class: `tag ${row.state}`, title: row.why || WORDS[row.state] || "" }, row.state), sort: (row) => row.state },
      { label: "network", cell: (row) => row.network, sort: (row) => row.network },
      { label: "data", cell: (row) => row.data, sort: (row) => row.data },
      { label: "epochs", cell: (row) => (row.planned ? `${row.epochs} of ${row.planned}` : row.epochs || ""), number: true, sort: (row) => row.epochs },
      { label: "best validation", cell: (row) => (row.best === null ? "" : `${score(row.best, row.metric)} ${row.metric}`), number: true, sort: (row) => row.best },
      { label: "test", cell: (row) => tested(row, score, el), number: true, sort: (row) => row.test },
      { label: "time", cell: (row) => (row.seconds ? seconds(row.seconds) : ""), number: true, sort: (row) => row.seconds },
      { label: "compare", cell: (row) => el("input", { type: "checkbox", "aria-label": `Compare ${row.name}`, "data-run": row.name, checked: chosen.has(row.name), disabled: !row.epochs,
        onchange: (event) => { if (event.target.checked) chosen.add(row.name); else chosen.delete(row.name); start.disabled = chosen.size < 2; } }) },
    ], runs, { caption: "Runs", quiet: true, empty: "No run was given. Start the studio with some: convarium studio RUN" })), el("div", { class: "row" }, start));
    if (focused) [...place.querySelectorAll("[data-run]")].find((each) => each.dataset.run === focused)?.focus();
  };
  let { runs } = await api("runs/list");
  draw(runs);
  context.follow(async () => {
    const now = await api("runs/list");
    if (JSON.stringify(now.runs) !== JSON.stringify(runs)) draw((runs = now.runs));
    return true;
  }, place, 3000);
}

function tested(row, score, el) {
  if (row.test === null) return "";
  const [low, high] = row.interval ?? [];
  const words = score(row.test, row.metric);
  return low === undefined ? words : el("span", { title: `95 % interval ${score(low, row.metric)} to ${score(high, row.metric)}, n = ${row.n}` }, words);
}
