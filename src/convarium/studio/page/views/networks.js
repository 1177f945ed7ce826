// Networks: the catalogue, one network in full, two side by side, and which one to choose.

import { showChoice } from "./networks/choice.js";
import { showNetwork } from "./networks/one.js";
import { showPair } from "./networks/pair.js";

export const title = "Networks";

export async function show(root, context, path) {
  const [name, word, other] = path;
  if (name === "choose") return showChoice(root, context);
  if (name && word === "with") return showPair(root, context, name, other);
  if (name) return showNetwork(root, context, name);
  return showEvery(root, context);
}

const KINDS = [["", "any"], ["maps 1", "series"], ["maps 2", "images"], ["maps 3", "volumes"], ["tokens 1", "texts"], ["fields 2", "fields"]];

async function showEvery(root, context) {
  const { api, el, card, field, select, table, button, count, number, go } = context;
  const { networks, families } = await api("networks/every");
  const wanted = { words: "", family: "", kind: "", most: "", weights: false };
  const told = el("p", { class: "soft", role: "status" });
  const list = table([
    { label: "network", cell: (row) => row.name, sort: (row) => row.name },
    { label: "family", cell: (row) => row.family, sort: (row) => row.family },
    { label: "year", cell: (row) => row.year ?? "", sort: (row) => row.year, number: true },
    { label: "parameters", cell: (row) => count(row.parameters), sort: (row) => row.parameters, number: true },
    { label: "MACs", cell: (row) => count(row.macs), sort: (row) => row.macs, number: true },
    { label: "field", cell: (row) => number(row.field), sort: (row) => row.field, number: true },
    { label: "input", cell: (row) => row.input, number: true },
    { label: "top-1, %", cell: (row) => (row.accuracy ? row.accuracy.toFixed(1) : ""), sort: (row) => row.accuracy, number: true },
    { label: "what it is", cell: (row) => row.summary },
  ], networks, { caption: "Networks of the catalogue", empty: "No network is like this.", pick: (row) => go("networks", row.name) });
  const filter = () => {
    const words = wanted.words.toLowerCase().split(/\s+/).filter(Boolean);
    const rows = networks.filter((row) =>
      words.every((word) => `${row.name} ${row.family} ${row.summary} ${row.year ?? ""}`.toLowerCase().includes(word))
      && (!wanted.family || row.family === wanted.family)
      && (!wanted.kind || wanted.kind === `${row.input_kind} ${row.spatial_dims}`)
      && (!wanted.most || row.parameters <= Number(wanted.most))
      && (!wanted.weights || row.weights));
    list.update(rows);
    told.textContent = `${rows.length} of ${networks.length} networks`;
  };
  const ask = (name) => (value) => {
    wanted[name] = value;
    filter();
  };
  const typed = el("input", { type: "search", placeholder: "resnet, 2015, separable", oninput: (event) => ask("words")(event.target.value) });
  const trained = el("input", { type: "checkbox", onchange: (event) => ask("weights")(event.target.checked) });
  const checked = field("with published weights", trained);
  checked.classList.add("check");
  root.append(
    el("h1", {}, "Networks"),
    el("p", { class: "lead" }, "Every network that can be created by its name, for one sample of its own input. ",
      el("a", { href: "#/networks/choose" }, "Which one to choose"), " for an input is measured on this machine."),
    card(null, el("div", { class: "row" },
      field("Search", typed),
      field("Family", select([["", "any"], ...families], "", ask("family"))),
      field("Inputs", select(KINDS, "", ask("kind"))),
      field("Parameters at most", select([["", "any"], ["1000000", "1 M"], ["5000000", "5 M"], ["10000000", "10 M"], ["30000000", "30 M"], ["100000000", "100 M"]], "", ask("most"))),
      checked), told, list));
  filter();
}
