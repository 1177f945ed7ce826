// What a classifier got wrong: the matrix, the samples behind each cell, calibration, labels.

import { finished, howFar } from "../../drawings.js";

const PAGE = 24;

export async function errors(context, run, root) {
  await new Errors(context, run, root).start();
}

class Errors {
  constructor(context, run, root) {
    Object.assign(this, { context, run, part: "test", turn: 0, controls: new Map() });
    this.place = context.el("div", {});
    this.behind = context.el("div", {});
    this.labels = context.el("div", {});
    root.append(this.place, this.behind, this.labels);
  }

  // A question of which only the newest is answered.
  asked() {
    const turn = ++this.turn;
    const { signal } = this.context;
    const newest = () => turn === this.turn;
    return { get aborted() { return signal.aborted || !newest(); } };
  }

  async start() {
    const { api } = this.context;
    await this.draw();
    this.drawLabels(await api("runs/corrections", { query: { run: this.run } }));
  }

  async draw() {
    const { api, el, card, clear, waiting, notice, select, field } = this.context;
    const parts = select([["test", "test samples"], ["validation", "validation samples"], ["train", "training samples"]], this.part, (value) => {
      this.part = value;
      this.draw();
    });
    const choice = el("div", { class: "row" }, field("Part of the data", parts));
    const progress = waiting("Evaluating");
    clear(this.behind);
    clear(this.place).append(card("Right and wrong", choice, progress));
    let found;
    const asked = this.asked();
    try {
      const query = { run: this.run, part: this.part };
      found = await finished(() => api("runs/matrix", { query }), (told) => (progress.textContent = howFar(told, "Evaluating")), asked);
    } catch (error) {
      if (!asked.aborted && error.name !== "AbortError") clear(this.place).append(card("Right and wrong", choice, notice(error.message)));
      return;
    }
    this.classes = found.classes;
    clear(this.place).append(
      card("Right and wrong", choice, this.drawFacts(found), found.confusion ? this.drawMatrix(found) : this.drawPairs(found)),
      el("div", { class: "columns" }, card("Calibration", this.drawCalibration(found)), card("Classes", this.drawClasses(found))));
    this.open(null, null); // which may have to read the data first
  }

  drawFacts(found) {
    const { el, percent } = this.context;
    const [low, high] = found.interval;
    const facts = [["Accuracy", percent(found.accuracy, 2)], ["95 % interval", `${percent(low)} to ${percent(high)}`], ["Samples", found.n], ["Macro F1", percent(found.macro_f1)]];
    return el("dl", { class: "tiles" }, facts.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
  }

  // Rows are the truth, columns what was said; each cell with samples opens them.
  drawMatrix(found) {
    const { el, button } = this.context;
    const { classes, confusion } = found;
    const head = el("tr", {}, el("th", { scope: "col" }, "truth \\ said"), classes.map((name) => el("th", { scope: "col" }, el("span", {}, name))));
    const rows = confusion.map((row, i) => {
      const total = row.reduce((sum, each) => sum + each, 0) || 1;
      return el("tr", {}, el("th", { scope: "row" }, classes[i]), row.map((count, j) => {
        if (!count) return el("td", {}, el("span", { class: "none", "aria-label": "0" }, "·"));
        const strength = Math.round(100 * Math.min(0.55, 0.1 + 0.45 * (count / total)));
        const colour = `color-mix(in srgb, var(--${i === j ? "hit" : "miss"}) ${strength}%, transparent)`;
        const words = `${count} of ${classes[i]} named ${classes[j]}`;
        return el("td", { style: { background: colour } }, button(String(count), () => this.open(classes[i], classes[j]), { "aria-label": words, title: words }));
      }));
    });
    return el("div", {}, el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Confusion matrix" },
      el("table", { class: classes.length > 16 ? "matrix dense" : "matrix" }, el("caption", {}, "What was taken for what: a number opens its samples"), el("thead", {}, head), el("tbody", {}, rows))));
  }

  drawPairs(found) {
    const { table, button } = this.context;
    return table([
      { label: "truth", cell: (row) => row.truth },
      { label: "said", cell: (row) => row.predicted },
      { label: "times", cell: (row) => button(String(row.times), () => this.open(row.truth, row.predicted), { class: "link", "aria-label": `${row.times} of ${row.truth} named ${row.predicted}` }), number: true },
      { label: "of", cell: (row) => row.n, number: true },
    ], found.pairs, { caption: `The pairs that are confused most, of ${found.classes.length} classes`, empty: "Nothing was confused." });
  }

  drawCalibration(found) {
    const { el, lineChart, percent } = this.context;
    const chart = lineChart([
      { name: "came true", points: found.bins.map((bin) => [bin.stated, bin.observed]), colour: "c0" },
      { name: "if honest", points: [[0, 0], [1, 1]], colour: "soft-line", dashed: true },
    ], { title: "Stated confidence against what came true", x: "stated confidence", y: "came true", low: 0, high: 1, format: (value) => percent(value, 0), formatX: (value) => percent(value, 0), dots: true });
    return [chart, el("p", { class: "soft" }, `Expected calibration error ${percent(found.ece, 2)}, of the probabilities as the run states them.`)];
  }

  drawClasses(found) {
    const { table, percent } = this.context;
    return table([
      { label: "class", cell: (row) => row.name, sort: (row) => row.name },
      { label: "n", cell: (row) => row.n, number: true, sort: (row) => row.n },
      { label: "recall", cell: (row) => percent(row.recall), number: true, sort: (row) => row.recall },
      { label: "precision", cell: (row) => percent(row.precision), number: true, sort: (row) => row.precision },
    ], found.rows, { caption: "Classes", quiet: true });
  }

  // The samples behind a cell, or all that were named wrongly.
  async open(truth, said, start = 0) {
    const { api, el, card, clear, waiting, notice, button } = this.context;
    const asked = this.asked();
    const title = truth === null ? "Named wrongly, the most confident first" : truth === said ? `${truth}, named rightly` : `${truth}, taken for ${said}`;
    const progress = waiting("Reading the data");
    clear(this.behind).append(card(title, progress));
    let found;
    try {
      const query = { run: this.run, part: this.part, truth, said, start, count: PAGE };
      found = await finished(() => api("runs/samples", { query }), (told) => (progress.textContent = howFar(told, "Reading the data")), asked);
    } catch (error) {
      if (!asked.aborted && error.name !== "AbortError") clear(this.behind).append(card(title, notice(error.message)));
      return;
    }
    this.controls.clear();
    const all = truth === null ? null : button("Back to all that were named wrongly", () => this.open(null, null));
    const turns = el("div", { class: "row" }, all,
      start > 0 ? button("Earlier", () => this.open(truth, said, start - PAGE)) : null,
      start + PAGE < found.total ? button("More", () => this.open(truth, said, start + PAGE)) : null);
    clear(this.behind).append(card(title, found.remark ? notice(`${found.remark} Names and numbers may belong to other samples now, so no label is corrected here.`) : null,
      el("p", { class: "soft" }, found.total ? `${start + 1} to ${start + found.rows.length} of ${found.total}` : "There is none."),
      el("div", { class: "gallery" }, found.rows.map((row) => this.drawSample(row, !found.remark && !row.problem))), turns));
    if (truth !== null) this.behind.scrollIntoView({ behavior: "auto", block: "nearest" });
  }

  drawSample(row, sure) {
    const { el, percent } = this.context;
    const shown = row.picture ? el("img", { src: row.picture, alt: `${row.path}, ${row.truth}`, class: row.small ? "pixels" : null })
      : row.drawing ? el("img", { src: row.drawing, alt: row.path }) : el("p", { class: row.problem ? "soft" : "sample-text" }, row.problem ?? row.text);
    const words = el("figcaption", {}, el("strong", {}, `said: ${row.said} (${percent(row.confidence, 0)})`), el("span", { class: "path", title: row.path }, row.path.split("/").slice(-2).join("/")));
    const figure = el("figure", {}, shown, words);
    figure.append(sure ? this.drawChoice(row, figure) : el("p", { class: "soft" }, `label: ${row.truth}`));
    return figure;
  }

  // The label of a sample: the one that the run was trained with, or another.
  drawChoice(row, figure) {
    const { select, say, notice, api } = this.context;
    const other = () => (row.corrected && row.corrected !== row.truth ? row.corrected : "");
    const names = this.classes.filter((name) => name !== row.truth);
    const control = select([["", `label: ${row.truth}`], ...names.map((name) => [name, `corrected: ${name}`])], other(), async (value) => {
      figure.querySelector(".notice")?.remove();
      try {
        this.drawLabels(await api("runs/correct", { json: { run: this.run, path: row.path, label: value || null } }));
        row.corrected = value || null;
        say(value ? `${row.path} is corrected to ${value}` : `${row.path} has the label ${row.truth} again`);
      } catch (error) {
        control.value = other();
        if (error.name !== "AbortError") figure.append(notice(error.message));
      }
      control.classList.toggle("changed", Boolean(other()));
    });
    control.setAttribute("aria-label", `Label of ${row.path}`);
    control.classList.toggle("changed", Boolean(other()));
    this.controls.set(row.path, () => { row.corrected = null; control.value = ""; control.classList.remove("changed"); });
    return control;
  }

  // Labels that were corrected, and the command that trains with them.
  drawLabels(found) {
    const { el, card, clear, table } = this.context;
    clear(this.labels);
    if (!found.rows.length && !found.file) return;
    this.labels.append(card("Corrected labels", el("p", {}, found.file ? `They stand in ${found.file}. Train with them, and with the other flags of this run's training:` : "The run was trained with these."),
      found.file ? el("pre", {}, el("code", {}, found.command)) : null,
      table([
        { label: "sample", cell: (row) => row.path, sort: (row) => row.path },
        { label: "label", cell: (row) => row.label, sort: (row) => row.label },
        { label: "take back", cell: (row) => this.drawBack(row) },
      ], found.rows, { caption: "Corrections", quiet: true, empty: "All were taken back." })));
  }

  // A button that takes a correction back, with the label that the sample has then.
  drawBack(row) {
    const { api, button, say, notice } = this.context;
    if (row.back === null) return "the run was trained with it";
    const take = async () => {
      try {
        this.drawLabels(await api("runs/correct", { json: { run: this.run, path: row.path, label: null } }));
        this.controls.get(row.path)?.();
        say(`${row.path} has the label ${row.back} again`);
      } catch (error) {
        if (error.name !== "AbortError") this.labels.append(notice(error.message));
      }
    };
    return button(`Back to ${row.back}`, take, { "aria-label": `Take the correction of ${row.path} back to ${row.back}` });
  }
}
