// The frame: which view the address names, and what every view is given.
//
// A view is a file of views/ that exports `title` and `async show(root, context, path)`:
// `root` is an empty element, `path` the parts of the address behind the view's name, and
// `context` holds `api`, `info` (of /api/about), `signal` (aborted when the view is left), `go`,
// `reload`, `follow` and all of elements.js, figures.js and chart.js.

import * as chart from "./chart.js";
import * as elements from "./elements.js";
import * as figures from "./figures.js";
import { Refused, STOPPED, api } from "./api.js";
import { VIEWS } from "./views.js";

const { el, clear, notice, say } = elements;
const root = document.getElementById("view");
const menu = document.getElementById("views");
let leaving = new AbortController();
let info = null;
let failed = 0;

export function go(...parts) {
  location.hash = "#/" + parts.map(encodeURIComponent).join("/");
}

function parts() {
  const words = location.hash.replace(/^#\/?/, "").split("/").filter(Boolean);
  return words.map((word) => {
    try {
      return decodeURIComponent(word);
    } catch {
      return word;
    }
  });
}

function drawMenu(current) {
  clear(menu).append(
    ...VIEWS.map(({ name, label }) =>
      el("a", { href: `#/${name}`, "aria-current": name === current ? "page" : null }, label)),
  );
}

// The file of a view; where it could not be had, another address makes the browser ask again.
async function loaded(name) {
  try {
    return await import(`./views/${name}.js${failed ? `?again=${failed}` : ""}`);
  } catch (error) {
    failed += 1;
    throw navigator.onLine && (await alive()) ? error : new Refused(STOPPED, 0, "stopped");
  }
}

const alive = () => api("about").then(() => true, () => false);

async function route() {
  if (location.hash === "#view") return; // the link that skips the menu
  leaving.abort();
  leaving = new AbortController();
  const { signal } = leaving;
  const [name = info?.runs.length ? "runs" : VIEWS[0].name, ...path] = parts();
  drawMenu(name);
  clear(root);
  if (!VIEWS.some((view) => view.name === name)) {
    root.append(notice(`The studio has no view ${name}.`));
    return;
  }
  try {
    info = info ?? (await api("about", { signal }));
    const view = await loaded(name);
    if (signal.aborted) return;
    document.title = `${view.title} · convarium studio`;
    const place = el("div", { class: `view ${name}` });
    root.append(place);
    const asked = (path, options = {}) => {
      if (options.file?.size > info.most_bytes) throw new Refused(`The file is longer than ${figures.bytes(info.most_bytes)}.`, 413, "too_long");
      return api(path, { signal, ...options });
    };
    const tools = { ...elements, ...figures, ...chart };
    const context = { ...tools, api: asked, info, signal, go, reload: route, follow: following(signal) };
    await view.show(place, context, path);
    say(`${view.title} is shown`);
  } catch (error) {
    if (!signal.aborted) root.append(notice(error.refused ? error.message : `The view failed: ${error.message}.`, () => route()));
  }
}

// Calls `look` every so many milliseconds while it gives true and the view is shown; where the
// studio does not answer, a sentence stands before `place` until it does again.
const following = (signal) => async (look, place, pause) => {
  let told = null;
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, pause));
    if (signal.aborted) return;
    if (document.hidden) continue;
    try {
      if (!(await look())) return;
      told?.remove();
      told = null;
    } catch (error) {
      if (signal.aborted) return;
      if (!told) place.before((told = notice(error.message)));
      if (error.status > 0 && error.status < 500) return;
    }
  }
};

// What a view forgot to catch becomes a sentence too.
addEventListener("unhandledrejection", (event) => {
  if (event.reason?.name === "AbortError") event.preventDefault();
  else if (event.reason?.refused) {
    event.preventDefault();
    root.append(notice(event.reason.message));
  }
});
// A file that is dropped is not opened in the place of the page; text may be dragged into a field.
for (const name of ["dragover", "drop"]) {
  addEventListener(name, (event) => {
    if ([...event.dataTransfer.types].includes("Files")) event.preventDefault();
  });
}
addEventListener("hashchange", () => {
  if (location.hash !== "#view") root.focus({ preventScroll: true });
  route();
});

async function start() {
  try {
    info = await api("about");
  } catch (error) {
    drawMenu("");
    root.append(notice(error.message, start));
    return;
  }
  clear(root);
  await route();
  VIEWS.forEach(({ name }) => import(`./views/${name}.js`).catch(() => null)); // before they are asked for
}

start();
