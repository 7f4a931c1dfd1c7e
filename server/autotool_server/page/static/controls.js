// What the user sets: the question, its tools, and how willingly auto thinks.
import { Dial } from "./dial.js";
import { EXAMPLES, isUsable, taken } from "./examples.js";
import { count, percent, signed } from "./format.js";
import { html } from "./html.js";
import { addedBias, BUDGETS, currentBias, functions, ownTarget, steer } from "./request.js";
import { askAll, isActive, stopAll } from "./run.js";
import { MODES, setPrice, state as shared, update } from "./store.js";

const KEYS = /Mac|iPhone|iPad/.test(navigator.platform) ? "⌘ ↵" : "Ctrl ↵";

export const anyActive = (state) => MODES.some((mode) => isActive(state.runs[mode]));

// Why the question cannot be asked now, as a sentence; null if it can.
function obstacle(state) {
  if (state.question.trim() === "") return "Write a question first.";
  if (wrongFunctions(state) !== null) return "Your functions are not JSON yet.";
  return state.model === null ? WITHOUT_MODEL[state.link] : null;
}

const WITHOUT_MODEL = {
  connecting: "The page does not know yet what is served. Ask again in a moment.",
  loading: "The model is still loading. Ask again when it is ready.",
  lost: "The server does not answer. Ask again when it is back.",
  key: "The server asks for a key. Give it, and ask again.",
};

// Ask, or say why not, until that has changed.
export function tryToAsk(state) {
  const refusal = obstacle(state);
  update({ refusal, said: refusal ?? state.said });
  if (refusal === null) askAll();
}

export function Ask({ state }) {
  const wrong = wrongFunctions(state);
  const why = obstacle(state);
  return html`
    <section class="card ask" aria-labelledby="ask-title">
      <h2 id="ask-title" class="hidden">Question</h2>
      <label class="hidden" for="question">Question</label>
      <textarea id="question" rows="4" placeholder="Ask one question in all three modes …" value=${state.question}
        onInput=${(event) => update({ question: event.target.value })}></textarea>
      <div class="row">
        <span class="quiet">Try</span>
        ${EXAMPLES.filter((one) => isUsable(one, state.tools)).map((one) => html`
          <button class="small" onClick=${() => update(taken(one, shared.tools))}>${one.name}</button>`)}
        <span class="grow"></span>
        ${anyActive(state)
          ? html`<button class="stop" onClick=${stopAll}>Stop <kbd>Esc</kbd></button>`
          : html`<button class="primary" disabled=${why !== null} onClick=${() => tryToAsk(state)}>Ask <kbd>${KEYS}</kbd></button>`}
      </div>
      ${why !== null && why === state.refusal && html`<p class="quiet refusal">${why}</p>`}
      <${ServerTools} state=${state} />
      <details open=${state.functionsOpen} onToggle=${(event) => (shared.functionsOpen = event.target.open)}>
        <summary>Your functions (not run here) <span class="quiet">${functionNames(state)}</span></summary>
        <label class="hidden" for="functions">Functions, as OpenAI's tools in JSON. Their calls are shown, and not run</label>
        <textarea id="functions" class="code" rows="7" spellcheck="false" placeholder="OpenAI's tools, as JSON" value=${state.functions}
          aria-invalid=${wrong !== null} onInput=${(event) => update({ functions: event.target.value })}></textarea>
        ${wrong && html`<p class="problem">${wrong}</p>`}
      </details>
      <${Prices} prices=${state.prices} maxTokens=${state.maxTokens} />
    </section>`;
}

function wrongFunctions(state) {
  try {
    functions(state.functions);
    return null;
  } catch {
    return "This is not JSON yet.";
  }
}

function functionNames(state) {
  if (wrongFunctions(state) !== null) return "";
  return functions(state.functions).map((tool) => tool?.function?.name).filter(Boolean).join(", ");
}

function ServerTools({ state }) {
  const usable = state.tools.filter(({ disabled }) => !disabled);
  if (!usable.length) return null;
  const toggle = (name, isOn) => {
    const chosenTools = new Set(shared.chosenTools);
    if (isOn) chosenTools.add(name);
    else chosenTools.delete(name);
    update({ chosenTools });
  };
  return html`
    <fieldset class="tools">
      <legend>Tools of the server</legend>
      ${usable.map(({ name, description }) => html`
        <label title=${description}>
          <input type="checkbox" checked=${state.chosenTools.has(name)} onChange=${(event) => toggle(name, event.target.checked)} />
          ${name}
        </label>`)}
    </fieldset>`;
}

function Prices({ prices, maxTokens }) {
  const price = (kind, text) => html`
    <label>${text}
      <span class="unit">$<input type="number" min="0" step="any" inputmode="decimal" value=${prices[kind]}
        onInput=${(event) => setPrice(kind, event.target.value)} /></span>
    </label>`;
  return html`
    <div class="row prices">
      ${price("prompt", "a million prompt tokens")}
      ${price("completion", "a million decoded tokens")}
      <label>answer limit, in tokens
        <input type="number" min="1" step="1" value=${maxTokens}
          onInput=${(event) => update({ maxTokens: Math.max(1, Math.round(Number(event.target.value) || 512)) })} />
      </label>
    </div>`;
}

// The kinds of targets by what they hold. What may be given up, only a dial knows.
const STEERED = { "thinking-rate": "thinking rate", tokens: "tokens a turn", regret: "accuracy given up" };

export function Steer({ state }) {
  const dial = state.model?.dial ?? null;
  const bounds = dial ? [dial[0].bias, dial.at(-1).bias] : [-8, 8];
  const last = state.runs.auto?.decisions.at(-1);
  const own = ownTarget(state);
  const added = (steer(state) === "bias" && addedBias(state.runs.auto)) || 0;
  return html`
    <section class="card steer" aria-labelledby="steer-title">
      <header>
        <h2 id="steer-title">What auto may cost</h2>
        <label class="hidden" for="steer">Steer by</label>
        <select id="steer" value=${steer(state)} onChange=${(event) => update({ steer: event.target.value })}>
          ${own && html`<option value="server">the server's target</option>`}
          <option value="bias">reasoning bias</option>
          ${Object.entries(STEERED).map(([kind, name]) => (kind !== "regret" || dial) && html`<option value=${kind}>target: ${name}</option>`)}
        </select>
      </header>
      <${Steering} state=${state} bounds=${bounds} own=${own} />
      <${Slider} id="budget" label="budget of the think block" min="0" max=${BUDGETS.length - 1} step="1" value=${state.budget}
        shown=${BUDGETS[state.budget] === null ? "server's default" : `${count(BUDGETS[state.budget])} tokens`}
        set=${(budget) => update({ budget })} />
      <${Dial} dial=${dial} bias=${currentBias(state)} added=${added} p=${last?.p_long ?? null} bounds=${bounds} />
    </section>`;
}

function Steering({ state, bounds, own }) {
  const kind = steer(state);
  if (kind === "server") {
    return html`<p class="own">The server holds <b>${own.target}</b>, now with a bias of <b>${signed(Number(own.bias.toFixed(2)))}</b>.</p>`;
  }
  if (kind === "bias") {
    return html`<${Slider} key="bias" id="bias" label="reasoning bias" min=${bounds[0]} max=${bounds[1]} step="0.25" value=${state.bias}
      shown=${signed(state.bias)} set=${(bias) => update({ bias })} ends=${["spend less", "think more"]} />`;
  }
  const slider = {
    "thinking-rate": { min: 0, max: 1, step: 0.05, value: state.rate, shown: percent(state.rate), set: (rate) => update({ rate }) },
    tokens: { min: 10, max: 1000, step: 10, value: state.tokens, shown: count(state.tokens), set: (tokens) => update({ tokens }) },
    regret: { min: 0, max: 0.2, step: 0.01, value: state.regret, shown: percent(state.regret), set: (regret) => update({ regret }) },
  }[kind];
  return html`<${Slider} key=${kind} id=${kind} label=${STEERED[kind]} ...${slider} />`;
}

function Slider({ id, label, shown, set, ends, ...input }) {
  return html`
    <div class="slider">
      <label for=${id}>${label}</label>
      <output for=${id}>${shown}</output>
      <input id=${id} type="range" ...${input} aria-valuetext=${shown} onInput=${(event) => set(Number(event.target.value))} />
      ${ends && html`<span class="ends quiet"><span>${ends[0]}</span><span>${ends[1]}</span></span>`}
    </div>`;
}
