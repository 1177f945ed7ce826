// A picture that is dragged, and maps that move with it, or do not after strides.

import { cells, newest, sheet, slider } from "../../drawings.js";

const MOST = 8;
const CELL = 4;

export async function show(root, context) {
  const { api, el, clear, card, field, select, notice, percent, lineChart, redraw } = context;
  const how = { picture: "ring", kernel: "blur", halving: "stride", levels: 2 };
  let [down, right] = [0, 0];
  const trouble = el("div", {}), levels = el("div", { class: "columns" }), chart = el("div", {}), verdict = el("p", { role: "status" });
  const picture = sheet({ class: "cells drag" });

  const asked = newest((query) => api("learn/moved", { query }), (told) => {
    clear(trouble);
    draw(told);
  }, (error) => clear(trouble).append(notice(error.message)));
  const curved = newest((query) => api("learn/follows", { query }), (told) => {
    redraw(chart, lineChart([{ name: "||f(Tx) - T'f(x)|| / ||f(x)||", points: told.curve }], {
      title: "How far the last map is from moving along, by how far the picture moves", x: "places moved to the right", low: 0, height: 220, dots: true }));
    verdict.textContent = told.least > 1
      ? `Moved by a multiple of ${told.least} places, every map follows exactly; between, it can only be near.`
      : "Every map follows exactly, whatever the shift: convolution alone is equivariant.";
  }, (error) => clear(trouble).append(notice(error.message)));
  const ask = () => asked({ down, right, ...how });
  const again = () => {
    ask();
    curved({ ...how });
  };
  let shown = [];

  function draw(told) {
    cells(picture, told.picture, { side: CELL, label: `The picture, moved ${down} down and ${right} to the right` });
    if (shown.length !== told.levels.length) {
      shown = told.levels.map(() => ({ map: sheet(), expected: sheet(), words: el("p", { class: "soft" }) }));
      clear(levels).append(...shown.map((each, k) => card(`Level ${k + 1}`,
        el("div", { class: "pairs" },
          el("figure", {}, each.map, el("figcaption", {}, "map of the moved picture")),
          el("figure", {}, each.expected, el("figcaption", {}, "first map, moved along"))), each.words)));
    }
    told.levels.forEach((level, k) => {
      const side = Math.max(1, Math.floor((CELL * 64) / level.map.length));
      const most = Math.max(...level.expected.flat().map(Math.abs), ...level.map.flat().map(Math.abs));
      cells(shown[k].map, level.map, { side, most, label: `Level ${k + 1}: the map of the moved picture` });
      cells(shown[k].expected, level.expected, { side, most, label: `Level ${k + 1}: the first map, moved along` });
      shown[k].words.textContent = `Stride ${level.stride}: ${level.exact ? "a whole number of its places" : "no whole number of its places"}; they differ by ${percent(level.error)}, the sum of the map by ${percent(level.change)}.`;
    });
  }

  const limited = (value) => Math.max(-MOST, Math.min(MOST, Math.round(value)));
  const ways = [
    slider("Down", { low: -MOST, high: MOST, value: 0 }, (value) => { down = value; ask(); }),
    slider("Right", { low: -MOST, high: MOST, value: 0 }, (value) => { right = value; ask(); }),
  ];
  const place = (y, x) => {
    [down, right] = [limited(y), limited(x)];
    ways[0].set(down);
    ways[1].set(right);
    ask();
  };
  let from = null;
  picture.addEventListener("pointerdown", (event) => {
    picture.setPointerCapture(event.pointerId);
    from = [event.clientY, event.clientX, down, right];
  });
  picture.addEventListener("pointermove", (event) => {
    if (!from) return;
    const scale = 64 / picture.getBoundingClientRect().width;
    place(from[2] + (event.clientY - from[0]) * scale, from[3] + (event.clientX - from[1]) * scale);
  });
  for (const name of ["pointerup", "pointercancel"]) picture.addEventListener(name, () => (from = null));
  const option = (words, name, options) => field(words, select(options, how[name], (value) => { how[name] = value; again(); }));

  root.append(
    el("p", { class: "lead" }, "Drag the picture. A convolution's map moves with it; behind a stride of 2 a map has only every second place, and follows exactly only where the picture moved by a multiple of that."),
    trouble,
    el("div", { class: "columns" },
      card("Drag it", picture, el("div", { class: "row" }, ways)),
      card("The network",
        el("div", { class: "row" },
          option("Picture", "picture", [["ring", "a ring"], ["stripes", "fine stripes"], ["letter", "a letter"]]),
          option("Kernel", "kernel", [["blur", "blur"], ["edges", "edges"], ["nothing", "one place"]]),
          option("What halves the map", "halving", [["stride", "stride of 2"], ["max", "max pool"], ["blur", "blur, then stride"], ["none", "nothing does"]]),
          slider("Levels", { low: 1, high: 3, value: 2 }, (value) => { how.levels = value; again(); })),
        verdict, chart)),
    levels);
  await Promise.all([ask(), curved({ ...how })]);
}
