// Learning curves of one run or of several.

const LOGARITHMIC_FROM = 30;

/** Rows of a history with those that came since; from the start where the training began anew. */
export const extended = (rows, told) => (told.count < rows.length + told.rows.length ? [] : rows).concat(told.rows);

/** Charts of loss, score and learning rate. runs: [{ name, rows, kept }]. */
export function curvesOf({ el, lineChart, percent, number, COLOURS }, runs, metric) {
  const alone = runs.length === 1;
  const line = (run, k, key, words, dashed) => ({
    name: alone ? words : `${run.name}${dashed ? ", training" : ""}`,
    points: run.rows.map((row) => [row.epoch, row[key]]),
    colour: alone ? (dashed ? "soft-line" : "c0") : COLOURS[k % COLOURS.length],
    dashed,
  });
  const both = (name) => runs.flatMap((run, k) => [
    line(run, k, `train_${name}`, "training", true), line(run, k, `val_${name}`, "validation", false)])
    .filter((each) => each.points.some(([, value]) => Number.isFinite(value)));
  const marks = alone && runs[0].kept ? [{ x: runs[0].kept, words: `epoch ${runs[0].kept}, whose weights were kept` }] : [];
  const losses = both("loss");
  const values = losses.flatMap((each) => each.points.map((p) => p[1])).filter((value) => value > 0);
  const logarithmic = values.length > 0 && Math.max(...values) / Math.min(...values) >= LOGARITHMIC_FROM;
  const share = metric === "val_acc" || metric === "val_f1";
  const name = metric.replace(/^val_/, "");
  const words = { acc: "accuracy", f1: "F1", r2: "R2" }[name] ?? name;
  const panels = [["loss", lineChart(losses, { title: "Loss by epoch", x: "epoch", y: logarithmic ? "loss (log.)" : "loss", logarithmic, marks })]];
  if (name) panels.push([words, lineChart(both(name), { title: `${words} by epoch`, x: "epoch", y: words, format: share ? (value) => percent(value, 0) : number, high: share ? 1 : undefined, marks })]);
  const rates = runs.map((run, k) => line(run, k, "lr", "learning rate", false));
  panels.push(["learning rate", lineChart(rates, { title: "Learning rate by epoch", x: "epoch", y: "learning rate", low: 0, marks })]);
  const drawn = el("div", { class: "columns" }, panels.map(([, chart]) => chart));
  return marks.length ? el("div", {}, drawn, el("p", { class: "soft" }, `The dotted line is ${marks[0].words}.`)) : drawn;
}
