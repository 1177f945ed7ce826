// Standard against separable, and the other ways to save weights.

import { newest, slider } from "../../drawings.js";

export async function show(root, context) {
  const { api, el, clear, card, notice, percent, lineChart, number, count } = context;
  const how = { in_channels: 64, out_channels: 128, kernel_size: 3, size: 28 };
  const place = el("div", {}), trouble = el("div", {});
  const asked = newest((query) => api("learn/costs", { query }), (told) => {
    clear(trouble);
    clear(place).append(
      el("div", { class: "columns" },
        ...told.tables.map((each) => card(each.title, bars(context, each.rows))),
        card("Depthwise and 1x1 over standard",
          lineChart([{ name: `${how.kernel_size} x ${how.kernel_size}`, points: told.curve.map(([n, share]) => [Math.log2(n), share]) }],
            { title: "Share of the cost by output channels", x: "output channels, as powers of 2", low: 0, format: (value) => percent(value), height: 220, dots: true, marks: [{ x: Math.log2(how.out_channels), words: `${how.out_channels} channels` }] }),
          el("p", { class: "soft" }, `1 / ${how.out_channels} + 1 / ${how.kernel_size}² = ${percent(told.share)} of the weights and of the multiply-adds, norms left out.`))));
  }, (error) => clear(trouble).append(notice(error.message)));
  const ask = () => asked({ ...how });
  const power = (name, words, low, high) => slider(words, { low, high, value: Math.log2(how[name]), told: (value) => String(2 ** value) }, (value) => { how[name] = 2 ** value; ask(); });
  root.append(
    el("p", { class: "lead" }, "A standard convolution looks at all channels at every tap. Separated, each channel is filtered by itself, and a 1x1 convolution joins them."),
    trouble,
    card(null, el("div", { class: "row" },
      power("in_channels", "Channels in", 2, 10), power("out_channels", "Channels out", 2, 10),
      slider("Kernel", { low: 1, high: 9, value: 3, told: (k) => `${k} x ${k}` }, (value) => { how.kernel_size = value; ask(); }),
      slider("Map", { low: 1, high: 112, value: 28, told: (n) => `${n} x ${n}` }, (value) => { how.size = value; ask(); }))),
    place);
  await ask();
}

/** Rows of designs with their parameters and multiply-adds as bars on a common scale. */
function bars({ el, number, count }, rows) {
  const most = (key) => Math.max(...rows.map((row) => row[key]));
  const bar = (row, key, words) => el("div", { class: "weighed" },
    el("span", {}, `${words} ${count(row[key])}`),
    el("i", { style: { width: `${Math.max(0.4, (100 * row[key]) / most(key))}%` } }));
  return rows.map((row) => el("div", { class: "design" },
    el("p", {}, el("strong", {}, row.name), el("span", { class: "soft" }, ` sees ${row.field.join(" x ")}`)),
    bar(row, "parameters", "parameters"), bar(row, "macs", "multiply-adds")));
}
