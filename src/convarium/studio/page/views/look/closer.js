// A closer look at a sample: whether its heatmap is faithful, and what a position sees.

import { drawn, finished, howFar } from "../../drawings.js";

// What a sample of each kind consists of, and what its axes are called.
const KINDS = {
  images: { parts: "pixels", axes: ["Row", "Column"], into: "into a blurred picture", edges: "the edges of the picture" },
  series: { parts: "time steps", axes: ["Position"], into: "into a smoothed series", edges: "the steepest steps" },
  volumes: { parts: "voxels", axes: ["Depth", "Row", "Column"], into: "into a blurred volume", edges: "the edges of the volume" },
  texts: { parts: "tokens", axes: ["Token"], into: "into an empty text", edges: "" },
};

/** The position of a layer's map that a click on a drawing of the sample means; null beside it. */
export function placeOf(event, heat, node = event.currentTarget) {
  const bounds = node.getBoundingClientRect();
  const x = (event.clientX - bounds.left) / bounds.width, y = (event.clientY - bounds.top) / bounds.height;
  const panes = heat.panes ?? [{ box: [0, 0, 1, 1], rows: 0, columns: 1, upright: false }];
  const inside = ({ box: [left, top, right, bottom] }) => x >= left && x < right && y >= top && y < bottom;
  const pane = panes.length === 1 ? panes[0] : panes.find(inside);
  if (!pane) return null;
  const [left, top, right, bottom] = pane.box;
  const shares = [...(heat.at ?? heat.size.map(() => 0.5))];
  if (pane.rows !== null) shares[pane.rows] = pane.upright ? (bottom - y) / (bottom - top) : (y - top) / (bottom - top);
  shares[pane.columns] = (x - left) / (right - left);
  return heat.size.map((count, k) => Math.min(count - 1, Math.max(0, Math.floor(shares[k] * count))));
}

/** The frame of a field over a picture; of one that is not known, nothing. */
export function frame(svg, box) {
  const [[top, bottom], [left, right]] = box.length ? box : [[0, 0], [0, 0]];
  return svg("rect", { x: left, y: top, width: right - left, height: bottom - top, class: "field" });
}

export class Closer {
  constructor(context, look) {
    Object.assign(this, { context, look, words: KINDS[look.about.kind], seeing: 0 });
  }

  draw() {
    const { el, button, field, card } = this.context;
    const { heat } = this.look.found;
    const parts = [button("Measure deletion and insertion", () => this.measure())];
    if (heat.layered && heat.size && Math.max(...heat.size) > 1) {
      const inputs = heat.size.map((count) => el("input", { type: "number", min: 0, max: count - 1, value: Math.floor(count / 2) }));
      parts.push(inputs.map((input, k) => field(this.words.axes[k], input)),
        button("Show its field", () => this.see(inputs.map((input) => Number(input.value)))));
    }
    this.curves = el("div", {});
    this.field = el("div", {});
    return card("Closer", el("div", { class: "row" }, parts), this.curves, this.field);
  }

  async measure() {
    const { api, clear, waiting, notice, lineChart, el, number, signal } = this.context;
    const { look, words } = this;
    const turn = look.turn, place = this.curves, far = waiting("Measuring");
    clear(place).append(far);
    try {
      const { method, layer, target } = look.asked;
      const query = { run: look.run, sample: look.found.sample, method, layer, target };
      const left = { get aborted() { return signal.aborted || turn !== look.turn; } };
      const found = await finished(() => api("look/curves", { query }), (told) => (far.textContent = howFar(told, "Passes")), left);
      if (turn !== look.turn) return;
      const likely = found.output === "probability";
      const chart = (name, curve, said) => {
        const line = (called, key, area) => curve[key] && { name: `${called} ${number(curve[area], 3)}`, points: curve.fractions.map((x, k) => [x, curve[key][k]]) };
        return el("div", {}, el("h3", {}, name), el("p", { class: "soft" }, said),
          lineChart([line("heatmap", "heat", "area"), line("random order", "random", "area_random"), line("edges", "edges", "area_edges")].filter(Boolean),
            { title: name, x: `share of the ${words.parts}`, y: found.output, low: likely ? 0 : undefined, high: likely ? 1 : undefined }));
      };
      clear(place).append(el("div", { class: "columns" },
        chart("Deletion", found.deletion, `The hottest ${words.parts} go first; the lower the area, the better.`),
        chart("Insertion", found.insertion, `The hottest ${words.parts} come first, ${words.into}; the higher the area, the better.`)),
      el("p", { class: "soft" }, `The numbers in the legend are the areas. A heatmap that is no better than ${words.edges || "a random order"} says little.`));
    } catch (error) {
      if (turn === look.turn && error.name !== "AbortError") clear(place).append(notice(error.message));
    }
  }

  async see(position, token) {
    const { api, el, clear, notice, number, button } = this.context;
    const { look, words } = this;
    const { heat, sample } = look.found;
    if (!position || !heat.layered || !heat.size) return;
    const turn = ++this.seeing, place = this.field;
    try {
      const named = Object.fromEntries(position.map((value, k) => [["depth", "row", "column"].slice(-position.length)[k], value]));
      const found = await api("look/field", { query: { run: look.run, sample, ...named, layer: heat.layer, token } });
      if (turn !== this.seeing || !place.isConnected) return;
      const at = words.axes.map((axis, k) => `${k ? axis.toLowerCase() : axis} ${found.position[k]}`).join(", ");
      const near = found.position.every((value, k) => value === position[k]) ? "" : ", the nearest that reads the one clicked,";
      const size = found.size.length ? found.size.join(" × ") : "unknown";
      const spread = found.deviation.map((each) => number(each, 3)).join(" and ");
      clear(place).append(el("p", {}, `${at}${near} of ${found.layer}: the field has ${size} ${words.parts} (${found.status})${this.framed(found)}. ${found.drawing ? "" : found.sentence} `,
        el("span", { class: "soft" }, `${found.drawing ? "The weight has a" : "Cyan is the weight, as its square root;"} standard deviation of ${spread} ${words.parts}.`)));
      if (found.picture) {
        this.over(found);
        place.append(button("Hide the field", () => this.hide()));
      } else place.append(found.tokens ? this.tokens(found) : drawn(found.drawing));
    } catch (error) {
      if (turn === this.seeing && error.name !== "AbortError") clear(place).append(notice(error.message));
    }
  }

  framed(found) {
    if (found.picture) return ", the frame shows what of it lies in the picture";
    return found.tokens ? ", those underlined" : "";
  }

  // The frame and the weight over an image, in place of its heat.
  over(found) {
    const { svg, clear } = this.context;
    const { box, weight, over } = this.look;
    clear(box).append(frame(svg, found.box));
    weight.src = found.picture;
    weight.hidden = false;
    over.hidden = true;
  }

  hide() {
    const { box, weight, over } = this.look;
    this.context.clear(box);
    this.context.clear(this.field);
    weight.hidden = true;
    over.hidden = false;
  }

  // Tokens with the weight behind them; those of the field are underlined.
  tokens(found) {
    const { el } = this.context;
    const [start, stop] = found.box[0] ?? [0, 0];
    return el("p", { class: "tokens" }, found.tokens.map((token, k) => {
      const within = found.first + k >= start && found.first + k < stop;
      return el("span", { class: within ? "within" : null, style: { background: `rgb(0 200 225 / ${0.4 * found.weight[k]})` }, title: found.weight[k].toFixed(3) }, token);
    }));
  }
}
