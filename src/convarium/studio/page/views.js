// The views in the order of the menu; each is a file of views/.
export const VIEWS = [
  { name: "look", label: "Look" },
  { name: "networks", label: "Networks" },
  { name: "runs", label: "Runs" },
  { name: "data", label: "Data" },
  { name: "audit", label: "Audit" },
  { name: "learn", label: "Learn" },
];
