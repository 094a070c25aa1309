// The runs, read from the server while the page is open.

// Milliseconds between two looks at what has grown, and at least so many times as long as a look takes. TensorBoard itself
// reads the files every five seconds unless it is told otherwise (`--reload_interval`).
const INTERVAL = 500;
const IDLE_SHARE = 5;
const RUNS_PER_REQUEST = 10;

export const runs = new Map(); // name -> run, in the order of the names

/** Look for new data for ever. `changed(error)` is called after each change, with a text if the server failed. */
export function watch(changed) {
  let lastError = null;
  let isFirst = true;
  const look = async () => {
    const start = performance.now();
    let error = null;
    let hasChanged = false;
    if (!document.hidden || isFirst) {
      try {
        hasChanged = await update();
      } catch (reason) {
        error = reason.message;
      }
      if (hasChanged || error !== lastError || isFirst) changed(error);
      [lastError, isFirst] = [error, false];
    }
    setTimeout(look, Math.max(INTERVAL, IDLE_SHARE * (performance.now() - start)));
  };
  look();
}

async function update() {
  const { runs: listed } = await ask("./runs");
  const names = new Set(listed.map(({ name }) => name));
  const gone = [...runs.keys()].filter((name) => !names.has(name));
  gone.forEach((name) => runs.delete(name));
  const grown = listed.filter(({ name, version }) => runs.get(name)?.version !== version).map(({ name }) => name);
  const requests = [];
  for (let i = 0; i < grown.length; i += RUNS_PER_REQUEST) {
    const query = grown.slice(i, i + RUNS_PER_REQUEST).map((name) => `run=${encodeURIComponent(name)}`);
    requests.push(ask(`./data?${query.join("&")}`));
  }
  for (const answer of await Promise.all(requests)) answer.runs.forEach((run) => runs.set(run.name, run));
  if (grown.length > 0) {
    const sorted = [...runs.entries()].sort(([a], [b]) => a.localeCompare(b, undefined, { numeric: true }));
    runs.clear();
    sorted.forEach(([name, run]) => runs.set(name, run));
  }
  return gone.length > 0 || grown.length > 0;
}

async function ask(path) {
  let response;
  try {
    response = await fetch(path);
  } catch {
    throw new Error("TensorBoard does not answer. It is asked again until it does.");
  }
  const text = await response.text();
  let answer;
  try {
    answer = JSON.parse(text);
  } catch {
    throw new Error(`The server gave no JSON for ${path} (status ${response.status}): ${text.slice(0, 200)}`);
  }
  if (answer.error !== undefined) throw new Error(`${answer.error}\n${answer.details ?? ""}`);
  return answer;
}
