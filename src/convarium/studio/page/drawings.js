// Drawings of the reports within the page, numbers as coloured cells, and answers that keep up.

import { el } from "./elements.js";

/** A drawing that the studio sent as SVG, with the colours of the page. */
export function drawn(text) {
  const least = text.match(/min-width:([\d.]+)px/)?.[1];
  const plain = text.replace(/<style>[^<]*<\/style>/g, "").replace(/ style="[^"]*"/g, "");
  const parsed = new DOMParser().parseFromString(plain, "image/svg+xml").documentElement;
  const inside = document.importNode(parsed, true);
  if (least) inside.style.minWidth = `${least}px`;
  return el("div", { class: "drawn scroll", tabindex: "0", role: "group", "aria-label": "Drawing" }, inside);
}

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/**
 * Numbers in rows as coloured cells: blue above 0, orange below, strongest at `most`.
 *
 * options: label (for those who do not see it), most, side (of a cell, in pixels of the canvas),
 * marks ([[row, column]]: framed cells), row (a row that is framed).
 */
export function cells(canvas, values, { label, most, side, marks = [], row } = {}) {
  const high = values.length, wide = values[0]?.length ?? 0;
  const cell = side ?? Math.max(1, Math.floor(320 / Math.max(high, wide)));
  const top = most ?? values.reduce((best, line) => line.reduce((a, b) => Math.max(a, Math.abs(b)), best), 0);
  Object.assign(canvas, { width: wide * cell, height: high * cell });
  if (label) canvas.setAttribute("aria-label", label);
  const pen = canvas.getContext("2d");
  pen.fillStyle = colour("--paper");
  pen.fillRect(0, 0, canvas.width, canvas.height);
  const [above, below] = [colour("--hit"), colour("--miss")];
  const gap = cell >= 7 ? 1 : 0;
  values.forEach((line, y) => line.forEach((value, x) => {
    if (!value || !top) return;
    pen.globalAlpha = Math.min(1, Math.abs(value) / top);
    pen.fillStyle = value > 0 ? above : below;
    pen.fillRect(x * cell, y * cell, cell - gap, cell - gap);
  }));
  pen.globalAlpha = 1;
  pen.strokeStyle = colour("--ink");
  pen.lineWidth = cell >= 7 ? 2 : 1;
  marks.forEach(([y, x]) => pen.strokeRect(x * cell + 1, y * cell + 1, cell - 2, cell - 2));
  if (row !== undefined) pen.strokeRect(0.5, row * cell + 0.5, canvas.width - 1, Math.max(cell - 1, 2));
  return canvas;
}

/** A canvas for `cells`. */
export const sheet = (attributes = {}) => el("canvas", { role: "img", "aria-label": "Numbers as colours", class: "cells", ...attributes });

/**
 * Asks with the newest values only: one question at a time, and what came meanwhile goes last.
 *
 * ask: values => promise; then: what is done with an answer; fail: with an error.
 */
export function newest(ask, then, fail) {
  let busy = false, next = null;
  return async function again(values) {
    if (busy) {
      next = [values];
      return;
    }
    busy = true;
    try {
      const answer = await ask(values);
      await then(answer, values);
    } catch (error) {
      if (error.name !== "AbortError") fail(error);
    }
    busy = false;
    if (next) {
      const [values] = next;
      next = null;
      again(values);
    }
  };
}

/** Asks until the work is done, and tells how far it is; `signal.aborted` says that nobody waits. */
export async function finished(ask, tell, signal) {
  for (;;) {
    const told = await ask();
    if (signal.aborted) throw new DOMException("The view was left.", "AbortError");
    if (told.state === "done") return told.result ?? told;
    tell(told);
    await new Promise((resolve) => setTimeout(resolve, 400));
    if (signal.aborted) throw new DOMException("The view was left.", "AbortError");
  }
}

/** How far work is, in words. */
export const howFar = ({ state, done, total }, words) =>
  state === "waiting" ? "Waiting for other work" : total ? `${words}: ${done} of ${total}` : words;

/** A slider that says its value. options: low, high, step, value, words (value => text). */
export function slider(words, { low, high, step = 1, value, told = String }, onchange) {
  const shown = el("output", {}, told(value));
  const input = el("input", { type: "range", min: low, max: high, step, "aria-label": words });
  input.value = value;
  input.addEventListener("input", () => {
    shown.textContent = told(Number(input.value));
    onchange(Number(input.value));
  });
  const box = el("div", { class: "field" }, el("span", { class: "label" }, words, " ", shown), input);
  box.set = (other) => {
    input.value = other;
    shown.textContent = told(Number(input.value));
  };
  box.limit = (most) => {
    input.max = most;
    box.set(Math.min(Number(input.value), most));
  };
  return box;
}
