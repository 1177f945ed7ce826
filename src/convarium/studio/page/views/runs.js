// Runs: a table of them all.

export const title = "Runs";

export async function show(root, { api, el, table }, path) {
  const { runs } = await api("runs/list");
  root.append(el("h1", {}, "Runs"), table([
    { label: "run", cell: (row) => row.name },
    { label: "state", cell: (row) => el("span", { class: `tag ${row.state}` }, row.state) },
    { label: "epochs", cell: (row) => row.epochs, number: true },
  ], runs, { empty: "No run was given." }));
}
