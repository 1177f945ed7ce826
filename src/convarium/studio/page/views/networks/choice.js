// Which network: limits as a form, networks measured on this machine, and the picture of both sides.

import { drawn, finished, howFar } from "../../drawings.js";

export async function showChoice(root, context) {
  const { api, el, clear, card, field, select, button, notice, waiting, number, signal, say } = context;
  const { targets } = await api("networks/form");
  const text = (value = "", hint = "") => el("input", { value, placeholder: hint, size: 12 });
  const check = () => el("input", { type: "checkbox" });
  const controls = {
    size: ["Input of a sample", text("3x224x224")],
    target: ["Where it runs", select(Object.keys(targets), "server", () => limits())],
    pattern: ["Names like", text("*")],
    batch_size: ["Samples in a pass", text("1")],
    max_ms: ["Milliseconds at most", text("", "none")],
    max_parameters: ["Parameters at most", text("", "none")],
    max_macs: ["Multiply-adds at most", text("", "none")],
    max_memory_mb: ["Megabytes at most", text("", "none")],
    min_field: ["Field at least", text("", "none")],
    n: ["How many to measure", text("12")],
    threads: ["Threads", text("", "torch's own")],
    causal: ["no later inputs", check()],
    long_context: ["field over the whole input", check()],
    small_data: ["few samples to train on", check()],
  };
  const limits = () => {
    const own = targets[controls.target[1].value];
    for (const name of ["max_macs", "max_parameters"]) controls[name][1].placeholder = own[name] ? number(own[name]) : "none";
  };
  const place = el("div", {});
  let asking = 0;
  const ask = async () => {
    const json = {};
    for (const [name, [, input]] of Object.entries(controls)) {
      if (input.type === "checkbox") json[name] = input.checked;
      else if (input.value.trim()) json[name] = ["size", "target", "pattern"].includes(name) ? input.value.trim() : amount(input.value);
    }
    const mine = ++asking;
    const left = { get aborted() { return signal.aborted || mine !== asking; } };
    const told = waiting("Measuring");
    clear(place).append(card(null, told));
    try {
      const found = await finished(() => api("networks/choose", { json }), (far) => (told.textContent = howFar(far, "Building and measuring networks")), left);
      if (mine !== asking) return;
      clear(place).append(...answer(context, found));
      say(found.sentence);
    } catch (error) {
      if (error.name !== "AbortError" && mine === asking) clear(place).append(notice(error.message));
    }
  };
  const box = ([words, input]) => {
    const made = field(words, input);
    if (input.type === "checkbox") made.classList.add("check");
    return made;
  };
  root.append(
    el("p", {}, el("a", { href: "#/networks" }, "All networks")),
    el("h1", {}, "Which network?"),
    el("p", { class: "lead" }, "Networks of the catalogue for one input, measured on this machine with fresh weights, and ranked by what is published about their accuracy. What was measured before is kept."),
    card(null, el("form", { onsubmit: (event) => { event.preventDefault(); ask(); } },
      el("div", { class: "options" }, Object.values(controls).map(box)),
      el("button", { type: "submit", class: "main" }, "Measure and rank"))),
    place);
  limits();
}

/** A number as people write it: 5M, 600k, 4G, 12.5; what is none stays as it is, to be refused. */
function amount(text) {
  const found = text.trim().toLowerCase().match(/^([\d_,]*\.?\d+)([kmg]?)$/);
  if (!found) return text;
  return Number(found[1].replaceAll(/[_,]/g, "")) * { "": 1, k: 1e3, m: 1e6, g: 1e9 }[found[2]];
}

function answer({ el, card, table, number, count, notice, go }, found) {
  const first = found.satisfied ? card("The first", el("p", {}, found.sentence)) : notice(found.sentence);
  const rows = found.rows.map((row, k) => ({ ...row, place: k + 1 }));
  const conditions = `Medians for an input of ${found.input_shape.join("x")} in float32 on ${found.processor}, ${found.threads} thread${found.threads > 1 ? "s" : ""}, torch ${found.torch}.`;
  return [
    first,
    found.satisfied ? card("Latency against accuracy", drawn(found.drawing)) : null,
    found.satisfied ? card("Ranked", table([
      { label: "network", cell: (row) => row.label, sort: (row) => row.place },
      { label: "ms", cell: (row) => (row.latency_ms ? row.latency_ms.toPrecision(3) : "–"), sort: (row) => row.latency_ms, number: true },
      { label: "top-1, %", cell: (row) => (row.accuracy ? row.accuracy.toFixed(2) : "–"), sort: (row) => row.accuracy, number: true },
      { label: "parameters", cell: (row) => count(row.parameters), sort: (row) => row.parameters, number: true },
      { label: "MACs", cell: (row) => count(row.macs), sort: (row) => row.macs, number: true },
      { label: "MB", cell: (row) => number(row.memory_mb, 3), sort: (row) => row.memory_mb, number: true },
      { label: "front", cell: (row) => (row.on_front ? "yes" : "") },
      { label: "why", cell: (row) => row.reason },
    ], rows, { caption: "The best first", pick: (row) => go("networks", row.name) })) : null,
    card(null, el("p", { class: "soft" }, [conditions, ...found.notes].join(" "))),
  ].filter(Boolean);
}
