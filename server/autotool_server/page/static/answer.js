// What a run has written: its reasoning, its calls of tools with what they returned, and the answer.
import { html } from "./html.js";
import { decide, isActive, isThinking } from "./run.js";

const LINE = 300; // characters of a call and its result that its line may have

const hasBegun = (run) => [run.thoughts, run.calls, run.toolRuns, run.content].some(({ length }) => length > 0);

export function Answer({ run }) {
  return html`
    <${Reasoning} run=${run} />
    ${run.toolRuns.map((tool) => html`<${ToolRun} key=${tool.id} tool=${tool} />`)}
    ${run.content.trim() && html`<p class="answer">${run.content.trim()}</p>`}
    ${run.calls.filter(Boolean).map((one) => html`<${Call} name=${one.name} text=${one.arguments} />`)}
    ${!hasBegun(run) && isActive(run) && html`<p class="quiet">Waiting for the first token …</p>`}
    <${Ending} run=${run} />`;
}

// While it grows its end is in sight, and then its beginning.
function Reasoning({ run }) {
  const thoughts = run.thoughts.map((text, index) => ({ text: text.trim(), turn: index + 1 })).filter(({ text }) => text);
  if (!thoughts.length) return null;
  return html`
    <details class="reasoning" open>
      <summary>Reasoning</summary>
      <div class=${isThinking(run) ? "scrolled newest" : "scrolled"} role="group" tabindex="0" aria-label=${`Reasoning of ${run.mode}`}>
        <div>
          ${thoughts.map(({ text, turn }) => html`
            ${run.turns.length > 1 && html`<b class="turn">turn ${turn}</b>`}
            <p>${text}</p>`)}
        </div>
      </div>
    </details>`;
}

// A call of a server tool in one line, whole when it is opened.
function ToolRun({ tool }) {
  const result = tool.content ?? (tool.end === null ? "…" : "no result");
  const line = ` ${oneLine(tool.arguments)} → ${result}`;
  return html`
    <details class="tool-run">
      <summary title=${cut(tool.name + line)}><b>${tool.name}</b>${cut(line)}</summary>
      <pre class="call" role="group" tabindex="0" aria-label=${`Call of ${tool.name} and its result`}>${`${oneLine(tool.arguments)}\n→ ${result}`}</pre>
    </details>`;
}

const cut = (text) => (text.length > LINE ? `${text.slice(0, LINE)} …` : text);

// A call of a function that is the client's: the page does not run it.
function Call({ name, text }) {
  return html`<pre class="call" role="group" tabindex="0" aria-label=${`Call of ${name}`}><b>${name}</b>${` ${oneLine(text)}`}</pre>`;
}

function oneLine(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 1).replace(/\n */g, " ");
  } catch {
    return text;
  }
}

function Ending({ run }) {
  if (run.status === "failed") return html`<p class="problem">${run.problem} ${hasBegun(run) ? "What had come stays here." : ""}</p>`;
  if (run.status === "stopped") return html`<p class="quiet">Stopped. What had come stays here.</p>`;
  if (run.status === "done" && run.finish === "length") return html`<p class="quiet">Cut at the limit of tokens.</p>`;
  const pending = run.record?.pending_calls ?? [];
  return pending.length > 0 && html`<${Approval} run=${run} calls=${pending} />`;
}

function Approval({ run, calls }) {
  const answer = (approved) => decide(run, Object.fromEntries(calls.map(({ id }) => [id, approved])));
  return html`
    <div class="approval">
      <p>Waiting for your approval:</p>
      ${calls.map((one) => html`<${Call} name=${one.name} text=${one.arguments} />`)}
      <button class="primary small" onClick=${() => answer(true)}>Approve</button>
      <button class="small" onClick=${() => answer(false)}>Refuse</button>
    </div>`;
}
