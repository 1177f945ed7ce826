// Look: one sample, what a run says of it, and where in it the run looks.

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

// A place that takes a file, by choice, or by dropping it anywhere while the view is shown.
function dropZone({ el, signal }, words, ends, take) {
  const chosen = el("input", { type: "file", id: "look-file", accept: ends, class: "unseen",
    onchange: (event) => { if (event.target.files[0]) take(event.target.files[0]); event.target.value = ""; } });
  const zone = el("div", { class: "zone" }, chosen,
    el("label", { for: "look-file", class: "button" }, `Choose ${words}`), el("span", { class: "soft" }, "or drop it here"));
  addEventListener("dragover", () => zone.classList.add("over"), { signal });
  addEventListener("dragleave", (event) => { if (!event.relatedTarget) zone.classList.remove("over"); }, { signal });
  addEventListener("drop", (event) => {
    zone.classList.remove("over");
    if (event.dataTransfer.files[0]) take(event.dataTransfer.files[0]);
  }, { signal });
  return zone;
}

// Gridded fields: the coarse ones of a file at one time, and what the run makes of them.
class Fields {
  constructor(context, about, place) {
    Object.assign(this, { context, about, place, turn: 0 });
  }

  draw() {
    const { el } = this.context;
    this.result = el("div", {});
    this.place.append(dropZone(this.context, "a NetCDF file of coarse fields", this.about.ends, (file) => this.take(file)), this.result);
  }

  async take(file, time = 0) {
    const { api, el, card, clear, field, notice, waiting } = this.context;
    const turn = ++this.turn;
    clear(this.result).append(waiting());
    let found;
    try {
      found = await api("look/fields", { query: { run: this.about.run, time }, file });
    } catch (error) {
      if (turn === this.turn && error.name !== "AbortError") clear(this.result).append(notice(error.message));
      return;
    }
    if (turn !== this.turn) return;
    const number = el("input", { type: "number", min: 1, max: found.count, value: time + 1, onchange: (event) => this.take(file, Math.max(0, event.target.value - 1)) });
    const size = (sides) => sides.join(" × ");
    const figure = (words, picture) => el("figure", {}, el("img", { class: "wide pixels", src: picture, alt: words }), el("figcaption", {}, words));
    clear(this.result).append(card(found.when, el("div", { class: "row" }, field(`Time, 1 to ${found.count}`, number)),
      found.notes.map((words) => el("p", { class: "soft" }, words)),
      found.fields.map((each) => [el("h3", {}, each.name), el("div", { class: "columns" },
        each.coarse ? figure(`${each.name} as it was read, ${size(found.coarse_size)} cells`, each.coarse) : null,
        figure(`${each.name} as the run makes it, ${size(found.fine_size)} cells`, each.fine)), el("p", { class: "soft" }, `On one scale, ${each.words}.`)])));
  }
}

class Look {
  constructor(context, about, place) {
    Object.assign(this, { context, about, place });
    this.asked = { method: about.method, layer: null, target: null, raw: false };
    this.opacity = 0.6;
    this.given = null; // { file, which }
    this.found = null;
    this.turn = 0;
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
    const { el, clear } = this.context;
    const { heat } = this.found;
    clear(this.heated).append(this.drawControls());
    if (heat.tokens) this.heated.append(this.drawTokens(heat));
    else if (heat.drawing) this.heated.append(el("img", { class: "wide", src: heat.drawing, alt: `The series with the heat for ${heat.target ?? "the score"}` }));
    else this.heated.append(...this.drawPicture(heat));
    const status = heat.status === "fine" ? null : el("p", { class: "soft" }, `The map is ${heat.status}.`);
    const about = `${heat.title} at ${heat.layer}${heat.target === null ? "" : `, for ${heat.target}`}: ${heat.shows ?? "evidence for the class"}.`;
    this.heated.append(el("p", { class: "soft" }, about), ...[status, heat.note ? el("p", { class: "soft" }, heat.note) : null].filter(Boolean));
    if (this.about.kind === "images") this.drawFurther();
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
    if (about.kind === "images") {
      controls.push(field("Values", select([["", "scaled: what speaks for it"], ["raw", "raw: signed"]], asked.raw ? "raw" : "", (value) => { asked.raw = value === "raw"; this.again(); })));
    }
    return el("div", { class: "row" }, controls);
  }

  drawTokens(heat) {
    const { el } = this.context;
    return el("p", { class: "tokens" }, heat.tokens.map((token, k) => {
      const value = heat.heat[k];
      const colour = value >= 0 ? `rgb(216 105 43 / ${0.6 * value})` : `rgb(29 95 138 / ${-0.6 * value})`;
      return el("span", { style: { background: colour }, title: value.toFixed(3) }, token);
    }));
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
      const place = (event) => {
        const bounds = stage.getBoundingClientRect();
        const part = (at, start, side, count) => Math.min(count - 1, Math.max(0, Math.floor(((at - start) / side) * count)));
        return [part(event.clientY, bounds.top, bounds.height, heat.size[0]), part(event.clientX, bounds.left, bounds.width, heat.size[1])];
      };
      stage.addEventListener("click", (event) => this.see(...place(event)));
      stage.addEventListener("pointermove", (event) => {
        const [row, column] = place(event);
        if (heat.values) this.reading.textContent = `row ${row}, column ${column}: ${number(heat.values[row][column])}`;
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

  // Below an image: whether the heatmap is faithful, and what a position sees.
  drawFurther() {
    const { el, button, field, clear } = this.context;
    const { heat } = this.found;
    const measure = button("Measure deletion and insertion", () => this.measure());
    const parts = [measure];
    if (heat.layered && heat.size && heat.size[0] * heat.size[1] > 1) {
      const row = el("input", { type: "number", min: 0, max: heat.size[0] - 1, value: Math.floor(heat.size[0] / 2) });
      const column = el("input", { type: "number", min: 0, max: heat.size[1] - 1, value: Math.floor(heat.size[1] / 2) });
      const see = button("Show its field", () => this.see(Number(row.value), Number(column.value)));
      parts.push(field("Row", row), field("Column", column), see);
    }
    clear(this.closer).append(this.context.card("Closer", el("div", { class: "row" }, parts),
      (this.curvesPlace = el("div", {})), (this.fieldPlace = el("div", {}))));
  }

  async measure() {
    const { api, clear, waiting, notice, lineChart, el, number } = this.context;
    const turn = this.turn;
    clear(this.curvesPlace).append(waiting("Measuring, a few dozen passes"));
    try {
      const { method, layer, target } = this.asked;
      const found = await api("look/curves", { query: { run: this.run, sample: this.found.sample, method, layer, target } });
      if (turn !== this.turn) return;
      const chart = (name, curve, words) => {
        const line = (words, key, more) => curve[key] && { name: `${words} ${number(curve[more], 3)}`, points: curve.fractions.map((x, k) => [x, curve[key][k]]) };
        return el("div", {}, el("h3", {}, name), el("p", { class: "soft" }, words),
          lineChart([line("heatmap", "heat", "area"), line("random order", "random", "area_random"), line("edges", "edges", "area_edges")].filter(Boolean),
            { title: name, x: "share of the positions", y: found.output, low: found.output === "probability" ? 0 : undefined, high: found.output === "probability" ? 1 : undefined }));
      };
      clear(this.curvesPlace).append(el("div", { class: "columns" },
        chart("Deletion", found.deletion, "The hottest positions go first; the lower the area, the better."),
        chart("Insertion", found.insertion, "The hottest positions come first, into a blurred picture; the higher the area, the better.")),
      el("p", { class: "soft" }, "The numbers in the legend are the areas. A heatmap that is no better than the edges of the picture says little."));
    } catch (error) {
      if (turn === this.turn && error.name !== "AbortError") clear(this.curvesPlace).append(notice(error.message));
    }
  }

  async see(row, column) {
    const { api, svg, el, clear, notice, number } = this.context;
    const { heat, sample } = this.found;
    if (!heat.layered || !heat.size) return;
    const turn = (this.seeing = (this.seeing ?? 0) + 1);
    try {
      const found = await api("look/field", { query: { run: this.run, sample, row, column, layer: heat.layer } });
      if (turn !== this.seeing) return;
      const [[top, bottom], [left, right]] = found.box.length ? found.box : [[0, 0], [0, 0]];
      clear(this.box).append(svg("rect", { x: left, y: top, width: right - left, height: bottom - top, class: "field" }));
      this.weight.src = found.picture;
      this.weight.hidden = false;
      this.over.hidden = true;
      const size = found.size.length ? found.size.join(" × ") : "unknown";
      clear(this.fieldPlace).append(el("p", {}, `Row ${row}, column ${column} of ${found.layer}: the field has ${size} inputs (${found.status}), the frame shows what of it lies in the picture. ${found.sentence} `,
        el("span", { class: "soft" }, `Cyan is the weight, as its square root; standard deviation ${found.deviation.map((each) => number(each, 3)).join(" and ")} pixels.`)),
      this.context.button("Hide the field", () => { clear(this.box); clear(this.fieldPlace); this.weight.hidden = true; this.over.hidden = false; }));
    } catch (error) {
      if (turn === this.seeing && error.name !== "AbortError") clear(this.fieldPlace).append(notice(error.message));
    }
  }
}
