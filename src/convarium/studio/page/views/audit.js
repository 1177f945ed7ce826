// Audit: what a run's answers rest on, each claim with its evidence.

export const title = "Audit";

const KINDS = { place: "a place", background: "the background", object: "the object", group: "a group" };

export async function show(root, context, path) {
  return path.length ? one(root, context, path.join("/")) : all(root, context);
}

async function all(root, context) {
  const { api, el, table, percent, card } = context;
  const { audits } = await api("audit/list");
  root.append(el("h1", {}, "Audit"), el("p", { class: "lead" }, "What the answers of a run rest on: groups, backgrounds, small places."));
  if (!audits.length) {
    root.append(card(null, el("p", {}, "No audit lies in the folders of these runs. Make one, and it stands here:"),
      el("pre", {}, el("code", {}, `convarium audit ${context.info.runs[0] ?? "RUN"} DATA -o ${context.info.runs[0] ?? "RUN"}/audit`))));
    return;
  }
  root.append(card(null, table([
    { label: "audit", cell: (row) => (row.why ? row.name : el("a", { href: `#/audit/${encodeURIComponent(row.name)}` }, row.name)), sort: (row) => row.name },
    { label: "data", cell: (row) => row.why || row.source },
    { label: "accuracy", cell: (row) => (row.why ? "" : percent(row.accuracy)), number: true, sort: (row) => row.accuracy },
    { label: "n", cell: (row) => row.n ?? "", number: true },
    { label: "supported", cell: (row) => row.verdicts?.supported ?? "", number: true, sort: (row) => row.verdicts?.supported },
    { label: "undecided", cell: (row) => row.verdicts?.undecided ?? "", number: true },
    { label: "not supported", cell: (row) => row.verdicts?.["not supported"] ?? "", number: true },
    { label: "gates", cell: (row) => (row.failed ? `${row.failed} failed` : ""), number: true },
  ], audits, { caption: "Audits", quiet: true })));
}

async function one(root, context, name) {
  const { api, el, card, percent, table } = context;
  root.append(el("p", {}, el("a", { href: "#/audit" }, "All audits")), el("h1", {}, name));
  const found = await api("audit/audit", { query: { name } });
  const [low, high] = found.accuracy.interval;
  root.append(el("p", { class: "lead" }, `${found.method} at ${found.layer}, on ${found.source}`));
  const facts = [["Accuracy", percent(found.accuracy.value, 2)], ["95 % interval", `${percent(low)} to ${percent(high)}`],
    ["Samples", found.accuracy.n], ["Looked at closely", found.drawn]];
  root.append(card(null, el("dl", { class: "tiles" }, facts.map(([words, value]) => el("div", {}, el("dt", {}, words), el("dd", {}, value)))),
    el("p", {}, `Sanity check of the heatmaps: ${found.sanity.verdict}. ${found.sanity.reason}`),
    found.note ? el("p", { class: "soft" }, found.note) : null,
    found.skipped ? el("p", { class: "soft" }, `${found.skipped} samples could not be read.`) : null));
  if (found.gates.length) root.append(card("Gates", el("ul", { class: "claims" }, found.gates.map((gate) =>
    el("li", {}, el("span", { class: `tag ${gate.passed ? "finished" : "stopped"}` }, gate.passed ? "holds" : "fails"), el("div", {}, el("strong", {}, gate.name), gate.sentence))))));
  root.append(card("Claims", found.claims.length ? el("ul", { class: "claims" }, found.claims.map((claim) => drawClaim(context, claim)))
    : el("p", {}, "There is nothing to claim: no cluster of heatmaps stands at a small place, and no groups or regions were given.")));
  root.append(card("Classes", table([
    { label: "class", cell: (row) => row.label, sort: (row) => row.label },
    { label: "accuracy", cell: (row) => percent(row.value), number: true, sort: (row) => row.value },
    { label: "95 % interval", cell: (row) => `${percent(row.interval[0])} to ${percent(row.interval[1])}`, number: true },
    { label: "n", cell: (row) => row.n, number: true, sort: (row) => row.n },
  ], found.labels, { caption: "Classes, the lowest accuracy first", quiet: true })));
  if (found.page) root.append(drawPage(context, name));
}

function drawClaim({ el, percent, table }, claim) {
  const alarm = claim.verdict === "supported" && claim.kind !== "object";
  const tag = el("span", { class: `tag ${alarm ? "stopped" : claim.verdict === "supported" ? "finished" : ""}` }, claim.verdict);
  const words = el("div", {}, el("strong", {}, claim.claim), el("span", { class: "soft" }, `${claim.reason}${claim.p_adjusted === null ? "" : ` p = ${claim.p_adjusted.toPrecision(2)}, adjusted.`}`));
  if (!claim.evidence.length) return el("li", {}, tag, words);
  const rate = (row) => el("span", { class: "whisker", "aria-hidden": "true" }, el("i", { style: { left: `${100 * row.low}%`, width: `${100 * (row.high - row.low)}%` } }), el("b", { style: { left: `${100 * row.value}%` } }));
  words.append(el("details", {}, el("summary", {}, `Evidence: ${KINDS[claim.kind]}`), table([
    { label: "what", cell: (row) => row.name },
    { label: "share", cell: (row) => percent(row.value), number: true },
    { label: "95 % interval", cell: (row) => (row.n ? `${percent(row.low)} to ${percent(row.high)}` : "no sample"), number: true },
    { label: "n", cell: (row) => row.n, number: true },
    { label: "0 to 100 %", cell: (row) => (row.n ? rate(row) : "") },
  ], claim.evidence, { caption: "Evidence", quiet: true })));
  return el("li", {}, tag, words);
}

function drawPage({ el, button, card }, name) {
  const address = `/api/audit/page?name=${encodeURIComponent(name)}`;
  const place = el("div", {});
  const open = button("Show the pictures here", () => {
    place.replaceChildren(el("iframe", { src: address, title: `The page of the audit ${name}`, class: "page", sandbox: "" }));
    open.disabled = true;
  });
  return card("Pictures", el("p", {}, "Clusters of heatmaps, places and backgrounds, before and after each change."),
    el("div", { class: "row" }, open, el("a", { href: address, target: "_blank", rel: "noopener" }, "Open them in a page of their own")), place);
}
