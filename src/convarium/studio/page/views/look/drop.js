// A place that takes a file, by choice, or by dropping it anywhere while the view is shown.
export function dropZone({ el, signal }, words, ends, take) {
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
