// A small picture whose places are turned on and off, by pointer or by arrows and the space bar.

export function grid({ el }, { label, values, change }) {
  const rows = values.map((line, y) => line.map((_, x) =>
    el("button", { type: "button", class: "place", tabindex: y || x ? "-1" : "0", "aria-label": `${label}, row ${y + 1}, column ${x + 1}`, onclick: () => change(y, x) })));
  const node = el("div", { class: "places", role: "group", "aria-label": `${label}: arrows move, the space bar turns a place on or off`, style: { "--n": values[0].length } }, rows);
  const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  node.addEventListener("keydown", (event) => {
    const move = moves[event.key];
    const y = rows.findIndex((line) => line.includes(document.activeElement));
    if (!move || y < 0) return;
    event.preventDefault();
    const x = rows[y].indexOf(document.activeElement);
    const next = rows[y + move[0]]?.[x + move[1]];
    if (!next) return;
    rows[y][x].tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  });
  const each = (act) => rows.forEach((line, y) => line.forEach((place, x) => act(place, y, x)));
  return {
    node,
    draw: (next) => each((place, y, x) => place.setAttribute("aria-pressed", String(Boolean(next[y][x])))),
    mark: (marks) => {
      const framed = new Set(marks.map(String));
      each((place, y, x) => place.classList.toggle("read", framed.has(`${y},${x}`)));
    },
  };
}
