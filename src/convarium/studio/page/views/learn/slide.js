// A kernel over a small picture: edit it, slide it, and see the matrix that it is.

import { cells, newest, sheet, slider } from "../../drawings.js";
import { grid } from "./grid.js";

const KERNELS = {
  "vertical edges": [[1, 0, -1], [2, 0, -2], [1, 0, -1]],
  blur: [[1, 2, 1], [2, 4, 2], [1, 2, 1]].map((row) => row.map((n) => n / 16)),
  "one place": [[0, 0, 0], [0, 1, 0], [0, 0, 0]],
  spots: [[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]],
  "5 x 5 mean": Array.from({ length: 5 }, () => Array(5).fill(0.04)),
};
const SIDE = 10;
const PICTURES = {
  cross: (y, x) => (y === 4 || y === 5 || x === 4 || x === 5 ? 1 : 0),
  step: (_, x) => (x < 5 ? 0 : 1),
  dot: (y, x) => (y === 4 && x === 4 ? 1 : 0),
  checks: (y, x) => (x + y) % 2,
  nothing: () => 0,
};
const painted = (name) => Array.from({ length: SIDE }, (_, y) => Array.from({ length: SIDE }, (_, x) => PICTURES[name](y, x)));

export async function show(root, context) {
  const { api, el, clear, card, field, select, button, notice, number, signal } = context;
  let kernel = KERNELS["vertical edges"].map((row) => [...row]);
  let picture = painted("cross");
  const how = { stride: 1, padding: 0, dilation: 1 };
  let told = null, at = 0, sliding = null;

  const trouble = el("div", {});
  const words = el("ul", { class: "soft" });
  const mapped = sheet(), matrix = sheet({ class: "cells whole" });
  const one = el("p", { class: "soft", "aria-live": "off" });
  const facts = el("p", { class: "soft" });
  const taps = el("div", {});
  const places = grid(context, { label: "Picture", values: picture, change: (y, x) => { picture[y][x] = picture[y][x] ? 0 : 1; places.draw(picture); ask(); } });
  const position = slider("Position", { low: 0, high: 0, value: 0, told: (k) => (told ? `${k + 1} of ${told.map.flat().length}` : "") }, (k) => { at = k; drawPlace(); });

  const ask = () => asked({ kernel, picture, ...how });
  const asked = newest((json) => api("learn/slid", { json }), (answer) => {
    clear(trouble);
    told = answer;
    at = Math.min(at, told.map.flat().length - 1);
    position.limit(told.map.flat().length - 1);
    position.set(at);
    clear(words).append(...told.words.map((each) => el("li", {}, each)));
    const [rows, columns] = told.matrix.shape;
    facts.textContent = `${number(rows)} outputs x ${number(columns)} inputs: a dense layer would have ${number(rows * columns)} weights, all its own. ${number(told.matrix.entries)} entries of this matrix are there at all, and all are copies of ${told.matrix.weights}.`;
    drawPlace();
  }, (error) => clear(trouble).append(notice(error.message)));

  function drawPlace() {
    const wide = told.map[0].length;
    const [y, x] = [Math.floor(at / wide), at % wide];
    const row = told.matrix.rows[at];
    places.mark(row.columns.map((column) => [Math.floor(column / SIDE), column % SIDE]));
    cells(mapped, told.map, { side: 32, marks: [[y, x]], label: `The map, ${told.map.length} x ${wide}` });
    const dense = told.matrix.rows.map((each) => {
      const line = Array(told.matrix.shape[1]).fill(0);
      each.columns.forEach((column, k) => (line[column] = each.values[k]));
      return line;
    });
    cells(matrix, dense, { side: 4, row: at, label: `The matrix, ${told.matrix.shape.join(" x ")}, row ${at + 1} framed` });
    const read = row.columns.map((column, k) => [row.values[k], picture[Math.floor(column / SIDE)][column % SIDE]]).filter(([a, b]) => a && b);
    const sum = read.map(([a, b]) => `${number(a, 3)} x ${number(b, 3)}`).join(" + ") || "nothing but zeros";
    one.textContent = `Row ${y + 1}, column ${x + 1} of the map: ${sum} = ${number(told.map[y][x], 3)}`;
  }

  function drawTaps() {
    clear(taps).append(el("div", { class: "taps", style: { "--n": kernel[0].length } }, kernel.map((line, y) => line.map((value, x) =>
      el("input", { type: "number", step: "any", value: String(Number(value.toPrecision(4))), "aria-label": `Kernel, row ${y + 1}, column ${x + 1}`,
        oninput: (event) => { kernel[y][x] = event.target.valueAsNumber || 0; ask(); } })))));
  }

  const pause = () => {
    clearInterval(sliding);
    sliding = null;
    play.textContent = "Slide";
  };
  const play = button("Slide", () => {
    if (sliding) return pause();
    play.textContent = "Stop";
    sliding = setInterval(() => {
      if (!told) return;
      at = (at + 1) % told.map.flat().length;
      position.set(at);
      drawPlace();
    }, 180);
  });
  signal.addEventListener("abort", pause);
  const geometry = (name, low, high) => slider(name, { low, high, value: how[name] }, (value) => { how[name] = value; ask(); });

  root.append(
    el("p", { class: "lead" }, "Each place of the map is a sum of products: the kernel's numbers with those of the picture beneath it. Written as one matrix, each row holds the same few weights, moved along."),
    trouble,
    card(null, el("div", { class: "row" },
      geometry("stride", 1, 4), geometry("padding", 0, 3), geometry("dilation", 1, 4), position, play), words),
    el("div", { class: "columns" },
      card("Picture", el("div", { class: "row" }, field("Drawn", select(Object.keys(PICTURES), "cross", (name) => { picture = painted(name); places.draw(picture); ask(); }))),
        places.node, el("p", { class: "soft" }, "Choose a place to turn it on or off. The framed ones are what the kernel reads.")),
      card("Kernel", el("div", { class: "row" }, field("Ready ones", select(Object.keys(KERNELS), "vertical edges", (name) => { kernel = KERNELS[name].map((row) => [...row]); drawTaps(); ask(); }))), taps),
      card("Map", mapped, one)),
    card("The same as a matrix", el("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Matrix" }, matrix), facts));
  drawTaps();
  places.draw(picture);
  await ask();
}
