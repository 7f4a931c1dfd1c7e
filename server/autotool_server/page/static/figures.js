// What an answer has taken: tokens, time, speed, and what a thousand such answers cost.
import { count, money, seconds } from "./format.js";
import { html } from "./html.js";
import { cost } from "./request.js";
import { elapsed } from "./run.js";
import { decodedUntil } from "./timeline.js";

// `most`: the tokens that the whole width of the bar stands for.
export function Figures({ run, prices, most }) {
  const used = run?.usage?.completion_tokens ?? 0;
  const thought = run?.usage?.completion_tokens_details?.reasoning_tokens ?? 0;
  const rate = run && speed(run);
  const spent = cost(run?.usage, prices);
  return html`
    <div class="figures">
      <dl>
        <div><dt>tokens</dt><dd>${run ? count(used) : "–"}</dd></div>
        <div><dt>time</dt><dd>${run ? seconds(elapsed(run)) : "–"}</dd></div>
        <div title="while the model was writing, without prompts and tools"><dt>tokens/s</dt><dd>${rate ? count(rate) : "–"}</dd></div>
        <div title="a thousand such answers at your prices"><dt>cost of 1,000</dt><${Cost} spent=${spent} prices=${prices} /></div>
      </dl>
      <div class="meter" role="img" aria-label=${`${count(thought)} tokens of reasoning, ${count(used - thought)} of the answer`}>
        <i class="reasons" style=${{ width: `${(100 * thought) / most}%` }}></i>
        <i class="answers" style=${{ width: `${(100 * (used - thought)) / most}%` }}></i>
      </div>
    </div>`;
}

function Cost({ spent, prices }) {
  if (prices.prompt === "" && prices.completion === "") return html`<dd class="hint quiet">type prices</dd>`;
  return html`<dd>${spent === null ? "–" : money(1000 * spent)}</dd>`;
}

// Tokens a second between the first and the last token of each turn; null for too few to tell.
export function speed(run) {
  const now = elapsed(run);
  const decoding = run.turns.reduce((total, turn, index) => total + decodedUntil(run, index, now) - began(turn, now), 0);
  const decoded = (run.usage?.completion_tokens ?? 0) - run.turns.length;
  return decoding > 100 && decoded > 0 ? (1000 * decoded) / decoding : null;
}

// When the first token of a turn came, or is taken to have come.
const began = (turn, now) => turn.first ?? turn.begun ?? now;
