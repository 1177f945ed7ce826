// Making the page: elements, tables, notices and controls with names.

const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "style") Object.entries(value).forEach(([k, v]) => node.style.setProperty(k, v));
    else if (name in node && (typeof value === "boolean" || name === "value")) node[name] = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** An element: el("button", { onclick: f, disabled: true }, "Words", another). */
export const el = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);

/** An element of SVG. */
export const svg = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

/** Empty an element, and give it back. */
export function clear(node) {
  node.replaceChildren();
  return node;
}

/** A sentence that something cannot be done; with a way to try again where there is one. */
export function notice(words, again = null) {
  const box = el("div", { class: "notice", role: "alert" }, el("p", {}, words));
  if (again) box.append(el("button", { type: "button", onclick: () => { box.remove(); again(); } }, "Try again"));
  return box;
}

/** A sentence for those who hear the page. */
export function say(words) {
  document.getElementById("said").textContent = words;
}

/** A place that shows it is waiting. */
export const waiting = (words = "Computing") => el("p", { class: "waiting", role: "status" }, words);

/** A card with a heading. */
export const card = (heading, ...children) =>
  el("section", { class: "card" }, heading ? el("h2", {}, heading) : null, children);

/** A control with its label: field("Method", select(...)). */
let made = 0;
export function field(words, control) {
  control.id ||= `field-${++made}`;
  return el("div", { class: "field" }, el("label", { for: control.id }, words), control);
}

/** A choice; options are texts, or [value, words]. */
export function select(options, value, onchange) {
  const rows = options.map((each) => (Array.isArray(each) ? each : [each, each]));
  const made = el("select", { onchange: (event) => onchange?.(event.target.value) },
    rows.map(([name, words]) => el("option", { value: name, selected: name === value }, words)));
  return made;
}

/** A button. */
export const button = (words, onclick, attributes = {}) =>
  el("button", { type: "button", onclick, ...attributes }, words);

/**
 * A table. columns: [{ label, cell: row => text or element, number: true, sort: row => value }].
 * Where a column has `sort`, its heading is a button that orders the rows. options: caption,
 * quiet (the caption is heard, not seen), empty (words), pick (row => called when its first cell is
 * chosen), order ([column, descending]). Its `update(rows)` shows other rows in the chosen order.
 */
export function table(columns, rows, { caption, empty = "Nothing here.", pick, order, quiet = false } = {}) {
  let [by, down] = order ?? [null, false];
  const head = el("tr", {});
  const body = el("tbody", {});
  const known = new Map();
  const line = (row) => {
    if (!known.has(row)) {
      known.set(row, el("tr", {}, columns.map((column, k) => {
        const inside = column.cell(row);
        const cell = k === 0 && pick ? button(inside, () => pick(row), { class: "link" }) : inside;
        return el(k === 0 ? "th" : "td", { class: column.number ? "n" : null, scope: k === 0 ? "row" : null }, cell ?? "");
      })));
    }
    return known.get(row);
  };
  const drawBody = () => {
    const sort = by === null ? null : columns[by].sort;
    const sign = down ? -1 : 1;
    const compare = (a, b) => (a === b ? 0 : a === null || a === undefined ? 1 : b === null || b === undefined ? -1 : a < b ? -sign : sign);
    const sorted = sort ? [...rows].sort((a, b) => compare(sort(a), sort(b))) : rows;
    clear(body).append(...sorted.map(line));
    if (!rows.length) body.append(el("tr", {}, el("td", { colspan: columns.length, class: "soft" }, empty)));
  };
  const drawHead = () => clear(head).append(...columns.map((column, k) => {
    const sorted = by === k ? (down ? "descending" : "ascending") : null;
    const turn = () => {
      [by, down] = [k, by === k ? !down : Boolean(column.number)];
      drawHead();
      drawBody();
      head.children[k].querySelector("button").focus();
    };
    const words = column.sort
      ? el("button", { type: "button", class: "sort", onclick: turn }, column.label, el("span", { "aria-hidden": "true" }, sorted ? (down ? " ↓" : " ↑") : ""))
      : column.label;
    return el("th", { scope: "col", class: column.number ? "n" : null, "aria-sort": sorted }, words);
  }));
  drawHead();
  drawBody();
  const box = el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption ?? "Table" },
    el("table", {}, caption ? el("caption", { class: quiet ? "unseen" : null }, caption) : null, el("thead", {}, head), body));
  box.update = (others) => {
    rows = others;
    drawBody();
  };
  return box;
}
