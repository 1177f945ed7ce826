// Learn: things that move. Each page of it is a file of learn/.

export const title = "Learn";

const PAGES = [
  ["slide", "A kernel that slides"],
  ["move", "Maps that move along"],
  ["cost", "What separating saves"],
  ["tree", "Dilated in time"],
  ["scaling", "Growing on all sides"],
  ["gradients", "Gradients through depth"],
];

export async function show(root, context, path) {
  const { el, notice } = context;
  const [name = PAGES[0][0]] = path;
  root.append(el("nav", { class: "pages", "aria-label": "Pages of Learn" }, PAGES.map(([each, words]) =>
    el("a", { href: `#/learn/${each}`, "aria-current": each === name ? "page" : null }, words))));
  const found = PAGES.find(([each]) => each === name);
  if (!found) {
    root.append(notice(`Learn has no page ${name}.`));
    return;
  }
  const page = await import(`./learn/${name}.js`);
  root.append(el("h1", {}, found[1]));
  await page.show(root, context);
}
