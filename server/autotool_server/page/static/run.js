// One question in one mode: the request, and what has come of its stream. Times are milliseconds since the start.
import { call, events, Problem } from "./api.js";
import { body, steering } from "./request.js";
import { MODES, state, touch, update } from "./store.js";

export const isActive = (run) => run?.status === "waiting" || run?.status === "running";

export const elapsed = (run) => (isActive(run) ? performance.now() - run.startedAt : run.endedAfter);

// `asked`: the question, its tools and when it was asked, which a run keeps whatever the user types afterwards.
function newRun(mode, asked, messages) {
  return {
    mode,
    asked,
    messages,
    status: "waiting", // "running", then "done", "stopped" or "failed"
    problem: "",
    thoughts: [], // the reasoning of each turn
    content: "",
    calls: [], // of the client's functions
    toolRuns: [], // of server tools
    turns: [newTurn(0)],
    usage: null,
    decisions: [], // of auto, one for each turn
    sentBias: steering(state).reasoning_bias ?? null,
    temperature: state.model.default_sampling.temperature, // the page sends none
    record: null,
    finish: null,
    startedAt: performance.now(),
    firstAfter: null,
    endedAfter: 0,
    abort: new AbortController(),
  };
}

// `begun`: since when it is taken to be decoded until a decision or a text says when its `first` token came.
const newTurn = (start, begun = null) => (
  { start, begun, first: null, thoughtUntil: null, last: start, end: null, record: null }
);

// The mode of each turn so far. A turn may be decoded again in long, which its record knows and its decision does not.
export const modesOf = (run) => (run.record?.turns ?? run.decisions).map(({ resolved }) => resolved);

// Whether reasoning was the last that came, so that more of it may follow.
export function isThinking(run) {
  const { thoughtUntil, last } = run.turns.at(-1);
  return isActive(run) && thoughtUntil !== null && thoughtUntil === last;
}

// Ask the question in every mode that the model can do.
export function askAll() {
  for (const mode of MODES) if (state.model.modes.includes(mode)) ask(mode);
}

export function ask(mode) {
  state.runs[mode]?.abort.abort();
  const { question, functions } = state;
  const asked = { question, functions, chosenTools: [...state.chosenTools].sort(), at: performance.now() };
  const run = newRun(mode, asked, [{ role: "user", content: asked.question }]);
  state.runs[mode] = run;
  touch();
  return follow(run, {});
}

// Go on after the user has decided about the calls that wait for it. `decisions`: whether each is approved, by its id.
export function decide(earlier, decisions) {
  const run = newRun(earlier.mode, earlier.asked, [...earlier.messages, ...earlier.record.transcript]);
  state.runs[earlier.mode] = run;
  return follow(run, { tool_approvals: decisions });
}

// Whether two runs have the same question and the same tools, and so can be compared.
export const isComparable = (one, other) =>
  [one, other].every(Boolean) && one.asked.question === other.asked.question && toolsKey(one) === toolsKey(other);

const toolsKey = ({ asked }) => JSON.stringify([asked.chosenTools, asked.functions]);

// The run whose question was asked last.
export function newestRun() {
  const runs = MODES.map((mode) => state.runs[mode]).filter(Boolean);
  return runs.reduce((newest, run) => (run.asked.at > newest.asked.at ? run : newest), runs[0]);
}

export function stopAll() {
  for (const mode of MODES) stop(mode);
}

export function stop(mode) {
  if (isActive(state.runs[mode])) state.runs[mode].abort.abort();
}

async function follow(run, besides) {
  try {
    const asked = { ...body(state, run), ...besides };
    const answer = await call("v1/chat/completions", { body: asked, signal: run.abort.signal });
    for await (const chunk of events(answer)) {
      fold(run, chunk, performance.now() - run.startedAt);
      touch();
    }
    settle(run, "done");
  } catch (error) {
    fail(run, error);
  }
}

function fail(run, error) {
  if (error.name === "AbortError") return settle(run, "stopped");
  settle(run, "failed", error.message);
  if (!(error instanceof Problem)) console.error(error);
  if (error.kind === "key") update({ link: "key", keyOpen: true });
}

function settle(run, status, problem = "") {
  run.endedAfter = performance.now() - run.startedAt;
  Object.assign(run, { status, problem });
  for (const tool of run.toolRuns) tool.end ??= run.endedAfter;
  touch();
  const shown = MODES.map((mode) => state.runs[mode]).filter(Boolean);
  if (!shown.some(isActive)) update({ said: shown.map((one) => `${one.mode}: ${outcome(one)}`).join("; ") });
}

// What has become of a run, in a few words.
function outcome(run) {
  if (run.status === "failed") return run.problem;
  if (run.status === "stopped") return "stopped";
  const resolved = modesOf(run).at(-1);
  return `answered${resolved ? ` ${resolved}` : ""}, ${run.usage?.completion_tokens ?? 0} tokens`;
}

// Take in a chunk of the stream.
export function fold(run, chunk, now) {
  run.status = "running";
  run.usage = chunk.usage ?? run.usage;
  run.firstAfter ??= now;
  run.turns[0].first ??= now;
  if (chunk.autotool?.event) foldEvent(run, chunk.autotool, now);
  else if (chunk.autotool) foldRecord(run, chunk.autotool, now);
  for (const { delta, finish_reason } of chunk.choices) {
    foldDelta(run, delta, now);
    run.finish = finish_reason ?? run.finish;
  }
}

function foldDelta(run, delta, now) {
  const thought = delta.reasoning ?? delta.reasoning_content ?? "";
  const turn = run.turns.at(-1);
  const index = run.turns.length - 1;
  if (thought) run.thoughts[index] = (run.thoughts[index] ?? "") + thought;
  run.content += delta.content ?? "";
  for (const call of delta.tool_calls ?? []) foldCall(run, call);
  if (!thought && !delta.content && !delta.tool_calls) return;
  turn.first ??= now;
  turn.last = now;
  if (thought) turn.thoughtUntil = now;
}

function foldCall(run, part) {
  run.calls[part.index] ??= { name: "", arguments: "" };
  run.calls[part.index].name += part.function?.name ?? "";
  run.calls[part.index].arguments += part.function?.arguments ?? "";
}

function foldEvent(run, event, now) {
  if (event.event === "decision") startTurn(run, event, now);
  if (event.event === "tool_started") startTool(run, event, now);
  if (event.event === "tool_result") endTool(run, event, now);
  if (event.event === "turn") {
    endTurn(run, event, now);
    // Only in auto does something tell that it is decoded: a turn that writes nothing but calls of server tools has no text.
    run.turns.push(newTurn(now, run.mode === "auto" ? null : now));
  }
}

function startTurn(run, decision, now) {
  run.decisions.push(decision);
  run.turns.at(-1).first ??= now;
}

function startTool(run, event, now) {
  const tool = { turn: event.turn, id: event.id, name: event.name, arguments: event.arguments, start: now, end: null };
  run.toolRuns.push(tool);
  return tool;
}

// Some calls end without a start: they were not run.
function endTool(run, event, now) {
  const tool = run.toolRuns.find(({ id }) => id === event.id) ?? startTool(run, event, now);
  Object.assign(tool, { end: now, outcome: event.outcome, content: event.content });
}

function foldRecord(run, record, now) {
  run.record = record;
  run.turns.slice(0, -1).forEach((turn, index) => Object.assign(turn, { record: record.turns[index] }));
  endTurn(run, record.turns.at(-1), now);
}

// Its record says how long calls ran while the turn was decoded, and so when the decoding ended.
function endTurn(run, record, now) {
  const index = run.turns.length - 1;
  const turn = run.turns[index];
  const tools = run.toolRuns.filter((tool) => tool.turn === index);
  for (const tool of tools) tool.overlap = 1000 * (record.executions.find(({ id }) => id === tool.id)?.overlap_seconds ?? 0);
  const during = tools.filter(({ overlap }) => overlap > 0).map(({ start, overlap }) => start + overlap);
  const decoded = during.length ? Math.max(...during) : Math.min(now, ...tools.map(({ start }) => start));
  Object.assign(turn, { record, end: Math.min(now, Math.max(turn.last, decoded)) });
}
