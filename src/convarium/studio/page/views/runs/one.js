// One run: its curves, live while it trains, and once it is finished what it got right and wrong.

import { curvesOf, extended } from "./curves.js";
import { errors } from "./errors.js";

export async function one(root, context, run) {
  const { api, el, card, clear, notice, percent, number, seconds, go, button } = context;
  const { runs } = await api("runs/list");
  const found = runs.find((each) => each.name === run);
  root.append(el("p", {}, el("a", { href: "#/runs" }, "All runs")), el("h1", {}, run));
  if (!found) {
    root.append(notice(`There is no run ${run} here, or its folder is gone.`));
    return;
  }
  const tag = el("span", { class: `tag ${found.state}` }, found.state);
  root.append(el("p", { class: "lead" }, tag, ` ${[found.network, found.task, found.data && `on ${found.data}`].filter(Boolean).join(", ")}`));
  const score = (value) => (found.metric === "acc" || found.metric === "f1" ? percent(value) : number(value));
  const facts = [["Epochs", found.planned ? `${found.epochs} of ${found.planned}` : found.epochs], ["Best validation", found.best === null ? "–" : `${score(found.best)} ${found.metric}`],
    ["Test", found.test === null ? "–" : score(found.test)], ["Time", found.seconds ? seconds(found.seconds) : "–"]];
  const values = el("dl", { class: "tiles" }, facts.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
  const links = el("div", { class: "row" },
    found.state === "finished" ? button("Look at a sample with it", () => go("look", run)) : null,
    found.report ? el("a", { href: `/api/runs/report?run=${encodeURIComponent(run)}`, target: "_blank", rel: "noopener" }, "Its report, in a page of its own") : null);
  const learning = el("div", {});
  const after = el("div", {});
  root.append(card(null, values, links), card("Learning", learning), after);
  await curves(context, run, learning, tag, after, found);
  if (found.state === "finished") {
    if (found.task === "classification") await errors(context, run, after);
    after.append(await settings(context, run));
  } else if (found.state === "damaged") after.append(notice(found.why));
}

async function curves(context, run, place, tag, after, found) {
  const { api, clear, el, notice, say } = context;
  let rows = [];
  const take = async () => {
    const told = await api("runs/history", { query: { run, after: rows.length } });
    rows = extended(rows, told);
    tag.textContent = told.state;
    tag.className = `tag ${told.state}`;
    if (told.rows.length || !place.childElementCount) {
      clear(place).append(curvesOf(context, [{ name: run, rows, kept: told.kept }], told.metric),
        el("p", { class: "soft" }, told.planned ? `${told.count} of ${told.planned} epochs` : `${told.count} epochs`));
    }
    return told.state;
  };
  let state = await take();
  const explain = (words) => clear(after).append(notice(words));
  if (state === "stopped") explain("This training was stopped or died before its end. Nothing is lost: go on with it by repeating its train with --resume.");
  if (state !== "training") return;
  context.follow(async () => {
    state = await take();
    if (state === "training") return true;
    say(`The training is ${state}`);
    if (state === "stopped") explain("The training has stopped before its end. Go on with it by repeating its train with --resume.");
    else if (state === "gone") explain("The folder of this run is gone.");
    else if (state === "finished") clear(after).append(el("p", {}, "The training is finished. ", context.button("Show what came out", () => context.reload(), { class: "main" })));
    return false;
  }, place, 1500);
}

async function settings(context, run) {
  const { api, el, table } = context;
  const { settings: found } = await api("runs/settings", { query: { run } });
  const rows = Object.entries(found);
  return el("details", { class: "card" }, el("summary", {}, `All ${rows.length} settings`),
    table([{ label: "setting", cell: ([name]) => name, sort: ([name]) => name }, { label: "value", cell: ([, value]) => value }], rows, { caption: "Settings", quiet: true }));
}
