// Gridded fields: the coarse ones of a file at one time, and what the run makes of them.

import { frame, placeOf } from "./closer.js";
import { dropZone } from "./drop.js";

const NO_CURVES = "A run of fields gives a value for every cell and no score of a class, so that there is no heatmap to remove the hottest cells by: deletion and insertion are for classes and single numbers. What each predictor is worth, and where, is measured by ";

export class Fields {
  constructor(context, about, place) {
    Object.assign(this, { context, about, place, turn: 0, seeing: 0 });
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
    this.found = found;
    this.again = () => this.take(file, time);
    const number = el("input", { type: "number", min: 1, max: found.count, value: time + 1, onchange: (event) => this.take(file, Math.max(0, event.target.value - 1)) });
    this.stages = {};
    clear(this.result).append(card(found.when, el("div", { class: "row" }, field(`Time, 1 to ${found.count}`, number)),
      found.notes.map((words) => el("p", { class: "soft" }, words)),
      found.fields.map((each) => this.drawField(each))), this.drawCloser());
  }

  // A field as it was read, if it was, beside what the run makes, whose cells can be clicked.
  drawField(each) {
    const { el, svg } = this.context;
    const { coarse_size: [high, wide], fine_size: [rows, columns] } = this.found;
    const fine = `${each.name} as the run makes it, ${rows} × ${columns} cells`;
    let coarse = null;
    if (each.coarse) {
      const words = `${each.name} as it was read, ${high} × ${wide} cells`;
      const stage = this.stages[each.name] = { weight: el("img", { class: "heat pixels", alt: "", hidden: true }),
        box: svg("svg", { class: "boxes", viewBox: `0 0 ${wide} ${high}`, preserveAspectRatio: "none", "aria-hidden": "true" }) };
      stage.whole = el("div", { class: "stage whole" }, el("img", { class: "pixels", src: each.coarse, alt: words }), stage.weight, stage.box);
      coarse = el("figure", {}, stage.whole, el("figcaption", {}, words));
    }
    const click = (event) => this.see(each.name, ...placeOf(event, { size: [rows, columns] }));
    return [el("h3", {}, each.name), el("div", { class: "columns" }, coarse,
      el("figure", {}, el("img", { class: "wide pixels asked", src: each.fine, alt: fine, onclick: click }), el("figcaption", {}, fine))),
    el("p", { class: "soft" }, `On one scale, ${each.words}.`)];
  }

  // What a fine cell follows from, and why there are no curves.
  drawCloser() {
    const { el, card, field, button, select } = this.context;
    const { fields, fine_size: size } = this.found;
    let name = fields[0].name;
    const inputs = size.map((count) => el("input", { type: "number", min: 0, max: count - 1, value: Math.floor(count / 2) }));
    this.told = el("p", { class: "soft", role: "status" }, "Click a fine cell to see which coarse cells it follows from.");
    return card("Closer", el("div", { class: "row" },
      fields.length > 1 ? field("Field", select(fields.map((each) => each.name), name, (value) => (name = value))) : null,
      field("Row, from the north", inputs[0]), field("Column", inputs[1]),
      button("Show its field", () => this.see(name, ...inputs.map((input) => Number(input.value))))),
    this.told, el("p", { class: "soft" }, NO_CURVES, el("code", {}, this.about.command), "."));
  }

  async see(name, row, column) {
    const { api, svg, clear, number } = this.context;
    const turn = ++this.seeing, { told } = this;
    told.textContent = "Following the cell back";
    try {
      const found = await api("look/cell", { query: { run: this.about.run, sample: this.found.sample, row, column, name } });
      if (turn !== this.seeing || !told.isConnected) return;
      Object.values(this.stages).forEach((stage) => this.show(stage, null));
      const stage = this.stages[name] ?? Object.values(this.stages)[0];
      if (stage) this.show(stage, found);
      if (stage) clear(stage.box).append(frame(svg, found.box));
      const size = found.size.length ? `${found.size.join(" × ")} coarse cells` : "a size that is not known";
      const framed = found.box.length ? ", framed as far as it lies in the domain" : " and no frame";
      told.textContent = `Row ${row} from the north, column ${column} of ${name}: the field has ${size}${framed}. 95 % of the weight lies on ${number(found.area_95)}${found.places ? ` of ${number(found.places)}` : ""} cells, half of it on ${number(found.area_50)}. Cyan is the weight, as its square root, over all that is read.`;
    } catch (error) {
      if (turn !== this.seeing || error.name === "AbortError") return;
      if (error.code === "forgotten") this.again();
      else told.textContent = error.message;
    }
  }

  show({ whole, weight, box }, found) {
    whole.classList.toggle("seen", Boolean(found));
    this.context.clear(box);
    weight.hidden = !found;
    if (found) weight.src = found.picture;
  }
}
