// What the page asks of the server besides answers: the model, its tools, and every few seconds the metrics.
import { call, Problem } from "./api.js";
import { parse, sum } from "./prometheus.js";
import { state, update } from "./store.js";

const EVERY = 2000;
const KEPT = 90; // samples of the chart of the load: three minutes

let history = [];
let timer = 0;

// Ask now, and then every few seconds while the page is looked at.
export async function watch() {
  clearTimeout(timer);
  await look();
  if (!document.hidden) timer = setTimeout(watch, EVERY);
}

async function look() {
  try {
    const answer = await call("metrics", { accept: "text/plain", signal: AbortSignal.timeout(5000) });
    const samples = parse(await answer.text());
    keep(samples);
    const isReady = sum(samples, "autotool_ready") !== 0;
    const isNew = state.model === null || state.link === "lost" || state.link === "loading";
    if (!isReady) update({ link: "loading", problem: "The model is still loading, or the server is about to stop." });
    else if (isNew && state.link !== "key") await load();
    else if (state.model && state.link === "up") await savings();
  } catch (error) {
    const isGone = !(error instanceof Problem) || error.kind === "unreachable";
    update({ link: "lost", problem: isGone ? "The server does not answer. It may have stopped, or the connection is down." : error.message });
  }
}

// Learn what is served. Also called when the user has given a key.
export async function load() {
  try {
    const [models, tools, version] = await Promise.all(["v1/models", "v1/tools", "version"].map(json));
    update({ model: models.data[0], tools: tools.data, version: version.version, link: "up", problem: "", keyOpen: false });
    await savings();
  } catch (error) {
    if (error.kind === "key") update({ link: "key", problem: error.message, keyOpen: true, model: null });
    else if (error.kind === "loading") update({ link: "loading", problem: error.message });
    else update({ link: "lost", problem: error.message });
  }
}

const json = async (path) => (await call(path)).json();

let askedAt = -Infinity;

// A server without audits has none, and is asked once.
async function savings() {
  if (state.savings?.share === 0 || performance.now() - askedAt < 15_000) return;
  askedAt = performance.now();
  try {
    update({ savings: await json("v1/savings") });
  } catch {
    // It is asked again later.
  }
}

function keep(samples) {
  const waiting = sum(samples, "autotool_queue_requests") ?? 0;
  // Those in flight are all that the server has taken, the waiting ones too.
  const running = Math.max(0, (sum(samples, "autotool_requests_in_flight") ?? 0) - waiting);
  history = [...history, { at: Date.now() / 1000, running, waiting }].slice(-KEPT);
  update({ live: { samples, history } });
}
