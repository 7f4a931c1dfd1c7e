// What can be said of the answers to the same question once they are there: their tokens, and whether they call the same tools.
// Which answer is right, the page cannot know.
import { count, percent } from "./format.js";
import { html } from "./html.js";
import { isComparable, modesOf } from "./run.js";

export function Verdict({ runs }) {
  const { auto, long, short } = runs;
  // A run that went on after an approval has not the tokens and calls before it.
  const isKnown = (run) => run?.status === "done" && run.messages.length === 1 && isComparable(run, auto);
  if (!isKnown(auto) || !isKnown(long)) return null;
  const others = isKnown(short) ? [long, short] : [long];
  const last = modesOf(auto).at(-1);
  const [ofAuto, ofLong, ofShort] = [auto, long, short].map((run) => run && count(tokensOf(run)));
  return html`
    <p class="verdict">
      <span class=${`chip ${last}`}>${last}</span>
      <span>auto answered ${inModes(modesOf(auto))}, with ${compared(tokensOf(auto), tokensOf(long))} always thinking:
      ${" "}${ofAuto} against ${ofLong}${others.includes(short) && `, and ${ofShort} without thinking`}.
      ${" "}${callsCompared(auto, others)}</span>
    </p>`;
}

const tokensOf = (run) => run.usage?.completion_tokens ?? 0;

function inModes(modes) {
  const long = modes.filter((mode) => mode === "long").length;
  if (modes.length < 2) return modes[0];
  if (long === 0 || long === modes.length) return `${modes[0]} in ${modes.length === 2 ? "both" : `all ${modes.length}`} turns`;
  return `long in ${long} of ${modes.length} turns`;
}

function compared(tokens, others) {
  if (tokens === others) return "as many tokens as";
  const saved = 1 - tokens / Math.max(1, others);
  if (Math.abs(saved) < 0.02) return "about as many tokens as";
  return html`<b>${percent(Math.abs(saved))} ${saved > 0 ? "fewer" : "more"} tokens</b> than`;
}

function callsCompared(auto, others) {
  if (![auto, ...others].some((run) => callsOf(run).length)) return "";
  const isSame = (run) => callsOf(run).join() === callsOf(auto).join();
  const names = (runs) => runs.map(({ mode }) => mode).join(" and ");
  const same = others.filter(isSame);
  const differing = others.filter((run) => !isSame(run));
  if (!callsOf(auto).length) return `It called no tool, but ${names(differing)} did.`;
  const parts = [same.length && `the same as those of ${names(same)}`, differing.length && `different from those of ${names(differing)}`];
  return `Its tool calls are ${parts.filter(Boolean).join(" and ")}.`;
}

// The calls of a run in any order, in a spelling that is equal for equal ones.
const callsOf = (run) => [...run.toolRuns, ...run.calls.filter(Boolean)].map((one) => `${one.name} ${spelling(one.arguments)}`).sort();

function spelling(text) {
  const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
  const sorted = (_, value) => (isObject(value) ? Object.fromEntries(Object.entries(value).sort()) : value);
  try {
    return JSON.stringify(JSON.parse(text), sorted);
  } catch {
    return text;
  }
}
