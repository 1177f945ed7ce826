// Numbers as people read them, as in the reports.

const known = (value) => value !== null && value !== undefined && Number.isFinite(value);

/** 0.9342 as 93.4 %. */
export const percent = (value, digits = 1) => (known(value) ? `${(100 * value).toFixed(digits)} %` : "–");

/** A number with so many digits that count. */
export function number(value, digits = 4) {
  if (!known(value)) return "–";
  if (Number.isInteger(value) && Math.abs(value) < 1e15) return value.toLocaleString("en-US");
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e7)) return value.toExponential(Math.max(0, digits - 2));
  return Number(value.toPrecision(digits)).toString();
}

/** 25557032 as 25.6 M. */
export function count(value) {
  if (!known(value)) return "–";
  for (const [unit, size] of [["G", 1e9], ["M", 1e6], ["k", 1e3]]) {
    if (Math.abs(value) >= size) return `${Number((value / size).toPrecision(3))} ${unit}`;
  }
  return String(Number(value.toPrecision(3)));
}

/** Bytes as KB and MB. */
export function bytes(value) {
  if (!known(value)) return "–";
  for (const [unit, size] of [["GB", 1e9], ["MB", 1e6], ["KB", 1e3]]) {
    if (value >= size) return `${Number((value / size).toPrecision(3))} ${unit}`;
  }
  return `${value} bytes`;
}

/** Seconds as 1 h 02 min, 3 min 20 s or 4.2 s. */
export function seconds(value) {
  if (!known(value)) return "–";
  const two = (part) => String(Math.floor(part)).padStart(2, "0");
  if (value >= 3600) return `${Math.floor(value / 3600)} h ${two((value % 3600) / 60)} min`;
  if (value >= 60) return `${Math.floor(value / 60)} min ${two(value % 60)} s`;
  return `${Number(value.toPrecision(2))} s`;
}
