// Look: one sample, what a run says of it, and where in it the run looks.

import { Closer, placeOf } from "./look/closer.js";
import { dropZone } from "./look/drop.js";
import { Fields } from "./look/fields.js";

export const title = "Look";

const GRADIENTS = {
  scaled: ["#000004", "#57106e", "#bc3754", "#f98e09", "#fcffa4"],
  raw: ["#a6d6ff", "#2678d4", "#0a0a10", "#de5a18", "#ffd68c"],
};

export async function show(root, context, path) {
  const { api, el, card, select, field, go } = context;
  const { runs } = await api("runs/list");
  const ready = runs.filter((run) => run.state === "finished").map((run) => run.name);
  root.append(el("h1", {}, "Look"), el("p", { class: "lead" },
    "One sample: what a run says of it, and where in it the run looks. It stays on this machine."));
  if (!ready.length) {
    root.append(card(null, el("p", {}, "There is no finished run here. Start the studio with one: ", el("code", {}, "convarium studio RUN"))));
    return;
  }
  const name = ready.includes(path[0]) ? path[0] : ready[0];
  const chooser = select(ready, name, (value) => go("look", value));
  const bar = el("div", { class: "row" }, field("Run", chooser));
  const place = el("div", {});
  root.append(bar, place);
  const waiting = context.waiting("Opening the run");
  place.append(waiting);
  const about = await api("look/about", { query: { run: name } });
  waiting.remove();
  if (about.kind === "grids") new Fields(context, about, place).draw();
  else new Look(context, about, place).draw();
}

class Look {
  constructor(context, about, place) {
    Object.assign(this, { context, about, place });
    this.asked = { method: about.method, layer: null, target: null, raw: false };
    this.opacity = 0.6;
    this.given = null; // { file, which }
    this.found = null;
    this.turn = 0;
    this.further = new Closer(context, this);
  }

  get run() {
    return this.about.run;
  }

  draw() {
    const { el } = this.context;
    this.input = this.drawInput();
    this.result = el("div", { class: "columns looked" });
    this.closer = el("div", {});
    this.place.append(this.input, this.result, this.closer);
  }

  // What is given: a file that is chosen or dropped, or a text.
  drawInput() {
    const { el, button } = this.context;
    const words = { images: "an image", series: "a series", volumes: "a volume", texts: "a file of text" }[this.about.kind];
    const zone = dropZone(this.context, words, this.about.ends, (file) => this.take(file));
    if (this.about.kind !== "texts") return zone;
    const text = el("textarea", { id: "look-text", rows: 4, placeholder: "A text to read" });
    return el("div", {}, el("label", { for: "look-text" }, "Text"), text,
      el("div", { class: "row" }, button("Read it", () => text.value.trim() && this.take(new Blob([text.value])), { class: "main" })), zone);
  }

  async take(file, which = 0) {
    const { api, clear, notice, waiting, say } = this.context;
    this.given = { file, which };
    clear(this.closer);
    const turn = ++this.turn;
    this.asked.target = null;
    clear(this.result).append(waiting());
    try {
      const query = { run: this.run, name: file.name ?? "", which, ...this.asked };
      const found = await api("look/show", { query, file });
      if (turn !== this.turn) return;
      this.found = found;
      this.drawResult();
      say(`The run says ${found.sentence}`);
    } catch (error) {
      if (turn === this.turn && error.name !== "AbortError") clear(this.result).append(notice(error.message, () => this.take(file, which)));
    }
  }

  // The heatmap anew, after a choice; a sample that the studio has forgotten is sent again.
  async again() {
    const { api, notice, clear } = this.context;
    const turn = ++this.turn;
    clear(this.closer);
    try {
      const query = { run: this.run, sample: this.found.sample, ...this.asked };
      const heat = await api("look/heat", { query });
      if (turn === this.turn) {
        this.found.heat = heat;
        this.drawHeat();
      }
    } catch (error) {
      if (turn !== this.turn || error.name === "AbortError") return;
      if (error.code === "forgotten") return this.take(this.given.file, this.given.which);
      clear(this.heated).append(this.drawControls(), notice(error.message));
    }
  }

  drawResult() {
    const { el, card, clear, field } = this.context;
    this.heated = el("div", {});
    const several = this.found.count > 1
      ? field(`Sample, 1 to ${this.found.count}`, el("input", { type: "number", min: 1, max: this.found.count, value: this.given.which + 1,
        onchange: (event) => this.take(this.given.file, Math.max(0, event.target.value - 1)) }))
      : null;
    clear(this.result).append(
      card("Where it looks", this.heated),
      card("What it says", several, this.drawSaid()));
    this.drawHeat();
  }

  drawSaid() {
    const { el, percent, button, number } = this.context;
    const { found, about } = this;
    if (!found.bars.length) {
      const rows = Object.entries(found.columns);
      return el("dl", { class: "tiles" }, rows.map(([name, value]) =>
        el("div", {}, el("dt", {}, name), el("dd", {}, typeof value === "number" ? number(value) : String(value)))));
    }
    const bars = found.bars.map(({ name, probability }) => el("li", {},
      button(name, () => { this.asked.target = name; this.again(); }, { class: "link", title: `Show what speaks for ${name}` }),
      el("span", { class: "bar", "aria-hidden": "true" }, el("i", { style: { width: `${100 * probability}%` } })),
      el("span", { class: "n" }, percent(probability))));
    const honest = about.calibrated
      ? "Probabilities are calibrated by the temperature of the run's card."
      : "The run was not calibrated: these are the network's own probabilities.";
    return [el("p", { class: "said" }, found.sentence), el("ol", { class: "bars" }, bars),
      found.others ? el("p", { class: "soft" }, `and ${found.others} more classes`) : null,
      el("p", { class: "soft" }, honest)];
  }

  drawHeat() {
    const { el, clear, number } = this.context;
    const { heat } = this.found;
    clear(this.heated).append(this.drawControls());
    if (heat.tokens) this.heated.append(this.drawTokens(heat));
    else if (heat.drawing) this.heated.append(this.drawSeries(heat));
    else this.heated.append(...this.drawPicture(heat));
    if (heat.size && !heat.below && this.about.kind !== "images") this.heated.append(el("p", { class: "soft" }, `Click a ${heat.tokens ? "token" : "time step"} to see what its position sees.`));
    if (heat.raw && !heat.picture) this.heated.append(el("p", { class: "soft" }, `Raw values from ${number(heat.low)} to ${number(heat.high)}: orange speaks for it, blue against it.`));
    const status = heat.status === "fine" ? null : el("p", { class: "soft" }, `The map is ${heat.status}.`);
    const about = `${heat.title} at ${heat.layer}${heat.target === null ? "" : `, for ${heat.target}`}: ${heat.shows ?? "evidence for the class"}.`;
    this.heated.append(el("p", { class: "soft" }, about), ...[status, heat.note ? el("p", { class: "soft" }, heat.note) : null].filter(Boolean));
    clear(this.closer).append(this.further.draw());
  }

  drawControls() {
    const { el, select, field } = this.context;
    const { about, asked } = this;
    const change = (name) => (value) => {
      asked[name] = value || null;
      const method = about.methods.find((each) => each.name === asked.method);
      if (!method.layered) asked.layer = null;
      this.again();
    };
    const method = about.methods.find((each) => each.name === asked.method);
    const layers = select([["", `${about.layer ?? "own choice"} (own choice)`], ...about.layers.map((name) => [name, name])], asked.layer ?? "", change("layer"));
    layers.disabled = !method.layered;
    const controls = [
      field("Method", select(about.methods.map((each) => [each.name, each.title]), asked.method, change("method"))),
      field("Layer", layers),
      field("Class", select([["", "the predicted one"], ...about.classes.map((name) => [name, name])], asked.target ?? "", change("target"))),
    ];
    controls.push(field("Values", select([["", "scaled: what speaks for it"], ["raw", "raw: signed"]], asked.raw ? "raw" : "", (value) => { asked.raw = value === "raw"; this.again(); })));
    return el("div", { class: "row" }, controls);
  }

  drawTokens(heat) {
    const { el } = this.context;
    return el("p", { class: "tokens" }, heat.tokens.map((token, k) => {
      const value = heat.heat[k];
      const colour = value >= 0 ? `rgb(216 105 43 / ${0.6 * value})` : `rgb(29 95 138 / ${-0.6 * value})`;
      const step = heat.size ? Math.min(1, heat.size[0] / heat.length) : 1; // a short text is read as a longer one
      const see = heat.size ? () => this.further.see([Math.floor((heat.first + k) * step)], heat.first + k) : null;
      return el("span", { style: { background: colour }, title: value.toFixed(3), onclick: see }, token);
    }));
  }

  drawSeries(heat) {
    const { el } = this.context;
    const see = heat.size ? (event) => this.further.see(placeOf(event, heat)) : null;
    return el("img", { class: heat.size ? "wide asked" : "wide", src: heat.drawing, alt: `The series with the heat for ${heat.target ?? "the score"}`, onclick: see });
  }

  drawPicture(heat) {
    const { el, svg, number, field } = this.context;
    const [height, width] = this.about.kind === "images" ? this.found.size : [1, 1];
    const small = this.about.kind === "images" && Math.max(height, width) < 160;
    const over = this.over = el("img", { class: "heat", src: heat.picture, alt: "", style: { opacity: this.opacity } });
    const below = el("img", { class: small ? "pixels" : null, src: heat.below ?? this.found.picture, alt: `What the network sees, with the heat for ${heat.target ?? "the score"} over it` });
    this.box = this.about.kind === "images" ? svg("svg", { class: "boxes", viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" }) : null;
    this.weight = el("img", { class: "heat", alt: "", hidden: true });
    this.reading = el("p", { class: "soft reading" }, heat.size ? "Click the picture to see what a position sees." : "");
    const stage = el("div", { class: small ? "stage small" : "stage" }, below, over, this.weight, this.box);
    if (heat.size) {
      stage.addEventListener("click", (event) => this.further.see(placeOf(event, heat, stage)));
      if (heat.values) stage.addEventListener("pointermove", (event) => {
        const [row, column] = placeOf(event, heat, stage);
        this.reading.textContent = `row ${row}, column ${column}: ${number(heat.values[row][column])}`;
      });
    }
    const slider = el("input", { type: "range", min: 0, max: 1, step: 0.05, value: this.opacity,
      oninput: (event) => { this.opacity = Number(event.target.value); over.style.opacity = this.opacity; } });
    const colours = GRADIENTS[heat.raw ? "raw" : "scaled"].join(",");
    const most = Math.max(Math.abs(heat.low ?? 0), Math.abs(heat.high ?? 1));
    const ends = heat.raw ? [number(-most, 3), number(most, 3)] : ["0", "1"];
    const scale = el("div", { class: "scale" }, ends[0], el("i", { style: { background: `linear-gradient(to right,${colours})` } }), ends[1]);
    return [stage, scale, el("div", { class: "row" }, field("Opacity of the heat", slider)), this.reading];
  }
}
