// Data: what a data set holds, its samples, what is alike, what was left out, what training makes of it.

import { drawn, finished, howFar, newest, slider } from "../drawings.js";
import { address } from "../api.js";

export const title = "Data";
const COUNT = 24;

export async function show(root, context, path) {
  const { api, el, clear, field, select, button, notice, waiting, go, signal } = context;
  const { sources } = await api("data/sources");
  root.append(el("h1", {}, "Data"));
  if (!sources.length) {
    root.append(el("p", { class: "lead" }, "The studio was opened without runs and without data. Start it with a run folder, or with --data DATA."));
    return;
  }
  const run = path[0] ?? sources[0].run;
  const named = sources.map((each) => [each.run, each.run ? `the data of ${each.name}` : each.name]);
  const place = el("div", {});
  const read = async (again) => {
    const far = waiting("Reading");
    clear(place).append(far);
    anew.disabled = true;
    const ask = () => {
      const query = { run, again };
      again = false;
      return api("data/overview", { query });
    };
    try {
      const found = await finished(ask, (told) => (far.textContent = howFar(told, "Reading samples")), signal);
      clear(place).append(...parts({ ...context, run }, found));
    } catch (error) {
      if (error.name !== "AbortError") clear(place).append(notice(error.message));
    }
    anew.disabled = false;
  };
  const anew = button("Read it again", () => read(true));
  root.append(
    el("p", { class: "lead" }, "Every sample is read once: what there is, what is there twice, what cannot be read, and what training makes of it."),
    el("div", { class: "row" }, field("Data", select(named, run, (value) => (value ? go("data", value) : go("data")))), anew), place);
  await read(false);
}

function parts(context, found) {
  return [
    facts(context, found),
    samples(context, found),
    found.shows_training ? training(context) : unshown(context, found),
    alike(context, found),
    leftOut(context, found),
  ].filter(Boolean);
}

function facts({ el, card, table, number, notice }, found) {
  const range = ([low, middle, high]) => (low === high ? number(low) : `${number(low)} to ${number(high)} (median ${number(middle)})`);
  const tiles = [["samples", number(found.samples)], ["kind", found.kind], ["task", found.task]];
  if (found.kind === "images") tiles.push(["height", range(found.heights)], ["width", range(found.widths)], ["colour", found.channels === 3 ? "yes" : "no"]);
  else if (found.kind === "texts") tiles.push(["characters", range(found.widths)]);
  else if (found.kind === "grids") tiles.push(["cells", `${found.heights[0]} x ${found.widths[0]}`], ["variables read", number(found.channels)]);
  else if (found.kind === "series") tiles.push(["time steps", range(found.widths)], ["channels", number(found.channels)]);
  const split = Object.keys(found.split).length ? found.split : found.parts;
  tiles.push(...Object.entries(split).map(([name, n]) => [name, number(n)]), ["cannot be read", number(found.unreadable)]);
  const parts = Object.keys(found.split);
  const numbers = Object.entries(found.numbers).map(([name, [low, mean, high]]) => ({ name, low, mean, high }));
  return card(found.source,
    found.remark ? notice(found.remark) : null,
    el("dl", { class: "tiles roomy" }, tiles.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value)))),
    found.notes.map((note) => el("p", { class: "soft" }, note)),
    el("div", { class: "columns" },
      found.balance ? el("div", {}, el("h3", {}, "Balance"), drawn(found.balance)) : null,
      found.by_part.length ? table([
        { label: "class", cell: (row) => row.label, sort: (row) => row.label },
        ...parts.map((part) => ({ label: part, cell: (row) => number(row[part]), sort: (row) => row[part], number: true })),
      ], found.by_part, { caption: "Classes in each part" }) : null,
      numbers.length ? table([
        { label: "number", cell: (row) => row.name },
        { label: "least", cell: (row) => number(row.low), number: true },
        { label: "mean", cell: (row) => number(row.mean), number: true },
        { label: "most", cell: (row) => number(row.high), number: true },
      ], numbers, { caption: "Targets" }) : null),
    el("p", { class: "soft" }, "Fingerprint ", el("code", {}, found.fingerprint)));
}

/** A sample as a small figure. */
function figure({ el, run }, found, row, side = 120) {
  const words = el("figcaption", {}, row.label || "no label", row.part ? `, ${row.part}` : "", el("br"), el("small", {}, row.name));
  const text = row.text ?? row.problem;
  if (text !== undefined) return el("figure", { class: "sample text" }, el("p", {}, text), words);
  if (!found.drawn) return el("figure", { class: "sample" }, words);
  const source = address("data/picture", { id: row.id, run, side: ["series", "grids"].includes(found.kind) ? 320 : 2 * side });
  return el("figure", { class: `sample ${found.kind}` }, el("img", { src: source, alt: row.name, loading: "lazy" }), words);
}

function samples(context, found) {
  const { api, el, clear, card, field, select, button, notice, number, run } = context;
  const wanted = { part: "", label: "", name: "", start: 0, count: COUNT };
  const place = el("div", { class: "samples" }), told = el("p", { class: "soft", role: "status" });
  const earlier = button("Earlier", () => ask(wanted.start - COUNT));
  const later = button("Later", () => ask(wanted.start + COUNT));
  const asked = newest((query) => api("data/page", { query }), (page) => {
    clear(place).append(...page.samples.map((row) => figure(context, found, row)));
    const last = Math.min(page.total, page.start + COUNT);
    told.textContent = page.total ? `${number(page.start + 1)} to ${number(last)} of ${number(page.total)}` : "No sample is like this.";
    earlier.disabled = page.start === 0;
    later.disabled = last >= page.total;
  }, (error) => clear(place).append(notice(error.message)));
  function ask(start = 0) {
    wanted.start = Math.max(0, start);
    asked({ ...wanted, run });
  }
  const set = (name) => (value) => {
    wanted[name] = value;
    ask();
  };
  const parts = Object.keys(found.split), labels = Object.keys(found.classes);
  const typed = el("input", { type: "search", size: 14, oninput: (event) => set("name")(event.target.value) });
  ask();
  return card("Samples",
    el("div", { class: "row" },
      parts.length ? field("Part", select([["", "all"], ...parts], "", set("part"))) : null,
      labels.length ? field("Label", select([["", "all"], ...labels], "", set("label"))) : null,
      field("Name holds", typed), earlier, later), told, place);
}

function training(context) {
  const { api, el, clear, card, button, notice, waiting, run } = context;
  const place = el("div", {}), words = el("p", { class: "soft" });
  const wanted = { epoch: 0, seed: 0 };
  async function ask() {
    clear(place).append(waiting("Drawing"));
    try {
      const told = await api("data/trained_on", { query: { ...wanted, run } });
      words.textContent = `${told.from_run ? "As the run was trained" : "As train would choose it"}: ${told.settings.join("; ") || "nothing is changed at random"}.`;
      clear(place).append(told.texts ? texts(context, told) : drawn(told.drawing));
    } catch (error) {
      if (error.name !== "AbortError") clear(place).append(notice(error.message));
    }
  }
  ask();
  return card("What training sees", words,
    el("div", { class: "row" },
      slider("First epoch", { low: 0, high: 50, value: 0 }, (value) => (wanted.epoch = value)),
      button("Show this epoch", ask),
      button("Other samples", () => { wanted.seed += 1; ask(); })), place);
}

// Why nothing is drawn of what training makes of some kinds.
function unshown({ el, card }, { kind }) {
  const words = {
    texts: "Which words can become unknown follows from the training texts: choose the data of a run.",
    grids: "Fields are never mirrored, since a mirrored one is of another climate; with --shift the coarse cells begin at any fine cell, and nothing else is changed at random.",
  }[kind];
  return words ? card("What training sees", el("p", { class: "soft" }, words)) : null;
}

// Texts as the network gets them: with the words that become unknown in an epoch.
function texts({ el }, { texts: shown, epoch }) {
  const word = (text, gone) => (words, k) => el("span", { class: gone[k] ? "gone" : text.rare[k] ? "rare" : null, title: gone[k] ? "unknown in this epoch" : text.rare[k] ? "unknown in every epoch" : null }, words);
  return el("div", {}, el("p", { class: "soft" }, "Coloured words become unknown by chance in that epoch; those struck through are unknown in every one."),
    shown.map((text) => el("div", {}, el("h3", {}, text.label || "no label", " ", el("small", { class: "soft" }, text.name)),
      text.dropped.map((gone, k) => el("p", { class: "tokens" }, el("small", { class: "soft" }, `epoch ${epoch + k} `), text.words.map(word(text, gone)))))));
}

function alike(context, found) {
  const { el, card, number } = context;
  if (!["images", "texts"].includes(found.kind)) return null;
  const tell = (sets, count, crossing, words, so) => el("div", {},
    el("h3", {}, count ? `${number(count)} sets ${words}` : `No ${words.replace("of ", "")}`),
    crossing ? el("p", { class: "notice" }, `${number(crossing)} of them lie in several parts: ${so}.`) : null,
    el("div", { class: "sets" }, sets.slice(0, 12).map((set) => el("div", { class: "set" },
      el("p", { class: "soft" }, [set.crossing ? "in several parts" : "", set.differing ? "with different labels" : ""].filter(Boolean).join(", ")),
      el("div", { class: "samples" }, set.samples.slice(0, 8).map((row) => figure(context, found, row, 80)))))),
    count > 12 ? el("p", { class: "soft" }, `The first 12 of ${number(count)}, those in several parts first.`) : null);
  return card("What is there more than once",
    tell(found.copies, found.copies_count, found.copies_crossing, "of equal samples", "what is tested was learnt from"),
    tell(found.alike, found.alike_count, found.alike_crossing, found.kind === "texts" ? "of texts that read alike" : "of images that look alike", "what is tested is much like what was learnt from"));
}

function leftOut({ el, card, table, number }, found) {
  const rows = found.skipped;
  const more = found.skipped_count - rows.length;
  return card("What was left out",
    rows.length ? table([
      { label: "name", cell: (row) => row.name },
      { label: "why", cell: (row) => row.reason, sort: (row) => row.reason },
    ], rows, { caption: `${number(found.skipped_count)} files` }) : el("p", { class: "soft" }, "Nothing."),
    more > 0 ? el("p", { class: "soft" }, `And ${number(more)} more.`) : null);
}
