// A column: one mode's answer, what it costs, and how it came about.
import { Answer } from "./answer.js";
import { Figures } from "./figures.js";
import { html } from "./html.js";
import { Needle } from "./needle.js";
import { Record } from "./record.js";
import { ask, isActive, isComparable, modesOf, newestRun, stop } from "./run.js";
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
  const modes = run.mode === "auto" ? modesOf(run) : [];
  const active = isActive(run);
  return html`
    <span class="state">
      ${modes.length > 1 && html`<span class="quiet">turn ${modes.length}</span>`}
      ${modes.length > 0 && html`<span class=${`chip ${modes.at(-1)}`}>${modes.at(-1)}</span>`}
      ${active && html`<span class="busy" aria-hidden="true"></span>`}
      ${active && html`<button class="small" onClick=${() => stop(run.mode)} aria-label=${`Stop ${run.mode}`}>Stop</button>`}
      ${!active && html`<button class="small" onClick=${() => ask(run.mode)} aria-label=${`Retry ${run.mode}`}>Retry</button>`}
    </span>`;
}

// Says of an answer that it cannot be compared with the newest one.
function Earlier({ run: { asked } }) {
  const isOther = asked.question !== newestRun().asked.question;
  const said = isOther ? `Answers an earlier question: ${asked.question}` : "Answers the question with other tools than the newest answer.";
  return html`<p class="earlier" title=${said}>${said}</p>`;
}
