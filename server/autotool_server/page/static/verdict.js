// One sentence that compares the answers to the same question, once they are there.
import { count, percent } from "./format.js";
import { html } from "./html.js";
import { isComparable } from "./run.js";

export function Verdict({ runs }) {
  const { auto, long, short } = runs;
  const isKnown = (run) => run?.status === "done" && isComparable(run, auto);
  if (!isKnown(auto) || !isKnown(long)) return null;
  const tokens = (run) => run.usage?.completion_tokens ?? 0;
  const resolved = auto.decisions.at(-1)?.resolved;
  const saved = 1 - tokens(auto) / Math.max(1, tokens(long));
  const compared =
    Math.abs(saved) < 0.02 ? "as many tokens as" : html`<b>${percent(Math.abs(saved))} ${saved > 0 ? "fewer" : "more"} tokens</b> than`;
  return html`
    <p class="verdict">
      <span class=${`chip ${resolved}`}>${resolved}</span>
      <span>auto answered ${resolved}, with ${compared} always thinking: ${count(tokens(auto))} against ${count(tokens(long))}
      ${isKnown(short) && `, and ${count(tokens(short))} without thinking`}.</span>
    </p>`;
}
