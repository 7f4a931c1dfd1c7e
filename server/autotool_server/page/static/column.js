// A column: one mode's answer, what it costs, and how it came about.
import { Answer } from "./answer.js";
import { count, money, seconds } from "./format.js";
import { html } from "./html.js";
import { Needle } from "./needle.js";
import { Record } from "./record.js";
import { cost } from "./request.js";
import { ask, elapsed, isActive, isComparable, newestRun, stop } from "./run.js";
import { Timeline } from "./timeline.js";

const PURPOSE = { auto: "the model decides", long: "reasons first", short: "answers at once" };

export function Column({ mode, run, state, most, span }) {
  const isServed = state.model?.modes.includes(mode) ?? true;
  return html`
    <section class=${`column ${mode}`} aria-labelledby=${`title-${mode}`}>
      <header>
        <h2 id=${`title-${mode}`}>${mode}</h2>
        <span class="quiet">${PURPOSE[mode]}</span>
        ${run && html`<${Resolved} run=${run} />`}
      </header>
      ${mode === "auto" ? html`<${Needle} run=${run} state=${state} />` : html`<p class="needle forced quiet">set by the request</p>`}
      <${Figures} run=${run} prices=${state.prices} most=${most} />
      <div class="text">
        ${!isServed && html`<p class="quiet">This model cannot do ${mode}.</p>`}
        ${isServed && !run && html`<p class="quiet">The answer will stand here.</p>`}
        ${run && !isComparable(run, newestRun()) && html`<${Earlier} run=${run} />`}
        ${run && html`<${Answer} run=${run} />`}
      </div>
      <div class="how">${run && html`<${Timeline} run=${run} span=${span} />`}</div>
      <div class="record">${run?.record && html`<${Record} record=${run.record} mode=${mode} />`}</div>
    </section>`;
}

function Resolved({ run }) {
  const resolved = run.decisions.at(-1)?.resolved;
  const active = isActive(run);
  return html`
    <span class="state">
      ${run.mode === "auto" && resolved && html`<span class=${`chip ${resolved}`}>${resolved}</span>`}
      ${active && html`<span class="busy" aria-hidden="true"></span>`}
      ${active && html`<button class="small" onClick=${() => stop(run.mode)} aria-label=${`Stop ${run.mode}`}>Stop</button>`}
      ${!active && html`<button class="small" onClick=${() => ask(run.mode)} aria-label=${`Retry ${run.mode}`}>Retry</button>`}
    </span>`;
}

function Figures({ run, prices, most }) {
  const used = run?.usage?.completion_tokens ?? 0;
  const thought = run?.usage?.completion_tokens_details?.reasoning_tokens ?? 0;
  const spent = cost(run?.usage, prices);
  const decoding = run && run.firstAfter !== null ? elapsed(run) - run.firstAfter : 0;
  const rate = decoding > 200 && used > 1 ? `${Math.round((1000 * used) / decoding)}/s` : "–";
  return html`
    <div class="figures">
      <dl>
        <div><dt>tokens</dt><dd>${run ? count(used) : "–"}</dd></div>
        <div><dt>time</dt><dd>${run ? seconds(elapsed(run)) : "–"}</dd></div>
        <div><dt>speed</dt><dd>${rate}</dd></div>
        <div><dt>cost</dt><dd>${spent === null ? "–" : money(spent)}</dd></div>
      </dl>
      <div class="meter" role="img" aria-label=${`${count(thought)} tokens of reasoning, ${count(used - thought)} of the answer`}>
        <i class="reasons" style=${{ width: `${(100 * thought) / most}%` }}></i>
        <i class="answers" style=${{ width: `${(100 * (used - thought)) / most}%` }}></i>
      </div>
    </div>`;
}

// Says of an answer that it cannot be compared with the newest one.
function Earlier({ run: { asked } }) {
  const isOther = asked.question !== newestRun().asked.question;
  const said = isOther ? `Answers an earlier question: ${asked.question}` : "Answers the question with other tools than the newest answer.";
  return html`<p class="earlier" title=${said}>${said}</p>`;
}
