// Asking the studio: what it refuses becomes an error whose message is a sentence for the page.

export const STOPPED = "The studio does not answer. If it was stopped, start it again: convarium studio";

/** What the studio did not do, in its own words. */
export class Refused extends Error {
  constructor(message, status, code) {
    super(message);
    this.name = "Refused";
    this.refused = true;
    this.status = status;
    this.code = code;
  }
}

/** The address of a function of the studio; what is undefined or null is left out. */
export function address(path, query = {}) {
  const known = Object.entries(query).filter(([, value]) => value !== undefined && value !== null);
  const words = new URLSearchParams(known).toString();
  return `/api/${path.replace(/^\/?(api\/)?/, "")}${words ? "?" + words : ""}`;
}

/**
 * Ask a function of the studio.
 *
 * query: values for the address. json: a body, which makes it a POST. file: a File or Blob as the
 * body, a POST too. signal: ends it. Gives the values of the answer.
 */
export async function api(path, { query, json, file, signal } = {}) {
  const options = { signal, headers: {} };
  if (json !== undefined) {
    Object.assign(options, { method: "POST", body: JSON.stringify(json) });
    options.headers["content-type"] = "application/json";
  } else if (file) {
    Object.assign(options, { method: "POST", body: file });
    options.headers["content-type"] = "application/octet-stream";
  }
  let answer;
  try {
    answer = await fetch(address(path, query), options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(STOPPED, 0, "stopped");
  }
  const told = await answer.json().catch(() => null);
  if (answer.ok && told !== null) return told;
  throw new Refused(told?.reason ?? "The studio's answer cannot be read.", answer.status, told?.error);
}
