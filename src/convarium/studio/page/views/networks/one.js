// One network: facts, drawing by its parts, how its field grows, every layer, options and weights.

import { drawn, newest } from "../../drawings.js";

/** The facts of a network as tiles. */
export function facts({ el, count, bytes, number }, told) {
  const rows = [
    ["parameters", number(told.facts.parameters)],
    ["multiply-adds", count(told.facts.macs)],
    ["weights", bytes(told.facts.parameter_bytes)],
    ["memory of a pass", bytes(told.facts.forward_bytes)],
    ["memory to train on one", bytes(told.facts.training_bytes)],
    ["field, inputs", number(told.facts.field)],
    ["stride, inputs", number(told.facts.stride)],
    ["best top-1", told.facts.accuracy ? `${told.facts.accuracy.toFixed(2)} %` : "–"],
  ];
  return el("dl", { class: "tiles" }, rows.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
}

export async function showNetwork(root, context, name) {
  const { api, el, clear, notice, waiting, say } = context;
  const place = el("div", {});
  const form = el("div", {});
  root.append(el("p", {}, el("a", { href: "#/networks" }, "All networks")), el("h1", {}, name), form, place);
  const asked = newest((how) => api("networks/network", { json: { name, ...how } }), async (told) => {
    clear(place).append(...parts(context, told));
    say(`${name} for an input of ${told.input}`);
    if (!form.children.length) form.append(await ways(context, told, draw));
  }, (error) => clear(place).append(notice(error.message)));
  const draw = (how) => {
    clear(place).append(waiting("Measuring"));
    return asked(how);
  };
  await draw({});
}

function parts(context, told) {
  const { el, card } = context;
  const papers = told.references.map((each) => el("li", {}, each));
  return [
    card(null, el("p", {}, `${told.summary}; input ${told.input}, output ${told.outputs}.`), facts(context, told),
      el("p", { class: "soft" }, told.sentence), papers.length ? el("ul", { class: "soft" }, papers) : null),
    card("Drawn by its parts", drawn(told.drawing)),
    told.growth ? card("How the field grows", drawn(told.growth)) : null,
    card("Every layer", layers(context, told)),
    told.weights.length ? card("Published weights", weights(context, told)) : null,
    card("How the weights start", el("ul", {}, told.initial.map((each) => el("li", {}, `${each.layers}: ${each.rule}`)))),
  ].filter(Boolean);
}

function layers({ el, field, select, table, number, count, bytes }, told) {
  const names = [...new Set(told.layers.map((row) => row.part))];
  const list = table([
    { label: "layer", cell: (row) => row.layer },
    { label: "kind", cell: (row) => row.kind, sort: (row) => row.kind },
    { label: "output", cell: (row) => row.shape, number: true },
    { label: "parameters", cell: (row) => number(row.parameters), sort: (row) => row.parameters, number: true },
    { label: "MACs", cell: (row) => count(row.macs), sort: (row) => row.macs, number: true },
    { label: "memory", cell: (row) => bytes(row.activation_bytes), sort: (row) => row.activation_bytes, number: true },
    { label: "field", cell: (row) => row.size, number: true },
    { label: "stride", cell: (row) => row.stride, number: true },
    { label: "status", cell: (row) => row.status },
  ], told.layers, { caption: `${told.layers.length} layers in the order of execution` });
  list.classList.add("tall");
  const show = (part) => list.update(told.layers.filter((row) => !part || row.part === part));
  return [el("div", { class: "row" }, field("Part", select([["", "all"], ...names], "", show))), list];
}

function weights({ table }, told) {
  return table([
    { label: "name", cell: (row) => row.name },
    { label: "top-1, %", cell: (row) => (row.accuracy ? row.accuracy.toFixed(2) : "not stated"), sort: (row) => row.accuracy, number: true },
    { label: "size", cell: (row) => row.size, number: true },
    { label: "stated by", cell: (row) => row.accuracy_source },
    { label: "licence", cell: (row) => row.licence },
  ], told.weights, { caption: "Files that create(..., pretrained=...) loads" });
}

async function ways(context, told, draw) {
  const { api, el, card, field, select, button, go } = context;
  const { networks } = await api("networks/every");
  const size = el("input", { value: "", placeholder: told.input, size: 14 });
  const controls = told.options.map((option) => [option, control(context, option)]);
  const apply = () => {
    const options = {};
    for (const [option, input] of controls) {
      const value = read(input.value);
      if (JSON.stringify(value) !== JSON.stringify(option.own)) options[option.name] = value;
    }
    draw({ size: size.value, options });
  };
  const others = networks.map((row) => row.name).filter((each) => each !== told.name);
  return card(null,
    el("form", { onsubmit: (event) => { event.preventDefault(); apply(); } },
      el("div", { class: "row" },
        field("Input of one sample", size),
        button("Measure", apply, { class: "main" }),
        field("Beside it", select([["", "another network"], ...others], "", (other) => other && go("networks", told.name, "with", other)))),
      el("details", {}, el("summary", {}, "Options of the network"),
        el("div", { class: "options" }, controls.map(([option, input]) => field(option.name, input))))));
}

function control({ el, select }, option) {
  const shown = typeof option.value === "string" ? option.value : JSON.stringify(option.value);
  if (typeof option.value === "boolean") return select(["true", "false"], shown);
  if (option.choices.length) {
    const choices = option.choices.map((each) => (typeof each === "string" ? each : JSON.stringify(each)));
    return select(choices.includes(shown) ? choices : [shown, ...choices], shown);
  }
  return el("input", { value: shown, size: 12 });
}

/** A value as JSON has it, and any other words as they are. */
function read(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
