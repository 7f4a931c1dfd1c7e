// What happened when: a lane for each turn, with its reasoning, and one for each call of a server tool below it.
import { seconds } from "./format.js";
import { html } from "./html.js";
import { elapsed } from "./run.js";

// `span`: the milliseconds that the whole width stands for, the same in all columns.
export function Timeline({ run, span }) {
  const now = elapsed(run);
  const several = run.turns.length > 1;
  return html`
    <div class="timeline">
      <h3>Timeline <${Keys} run=${run} /></h3>
      <ol>
        ${run.turns.map((turn, index) => html`
          <${Turn} turn=${turn} name=${several ? `turn ${index + 1}` : "model"} until=${decodedUntil(run, index, now)} span=${span} />
          ${run.toolRuns.filter((tool) => tool.turn === index).map((tool) => html`<${Tool} tool=${tool} now=${now} span=${span} />`)}`)}
      </ol>
    </div>`;
}

function Keys({ run }) {
  const kinds = {
    waits: "waiting",
    reasons: run.turns.some(({ thoughtUntil }) => thoughtUntil !== null) && "reasoning",
    answers: "answer",
    runs: run.toolRuns.length > 0 && "tool",
    overlaps: run.toolRuns.some(({ overlap }) => overlap > 0) && "overlap",
  };
  const shown = Object.entries(kinds).filter(([, text]) => text);
  return html`<span class="keys">${shown.map(([kind, text]) => html`<span class=${`key ${kind}`}>${text}</span>`)}</span>`;
}

// While a call of a turn runs, nobody says whether the turn is still decoded: its record will.
export function decodedUntil(run, index, now) {
  const turn = run.turns[index];
  const starts = run.toolRuns.filter((tool) => tool.turn === index).map(({ start }) => start);
  return turn.end ?? (starts.length ? Math.max(turn.last, ...starts) : now);
}

function Turn({ turn, name, until, span }) {
  const first = Math.min(turn.first ?? turn.begun ?? until, until);
  const thought = Math.max(first, Math.min(turn.thoughtUntil ?? first, until));
  const text = [
    `${name}: ${seconds(until - turn.start)}`,
    thought > first && `of which ${seconds(thought - first)} reasoning`,
  ].filter(Boolean).join(", ");
  return html`
    <li title=${text}>
      <span class="lane">${name}</span>
      <span class="track">
        <${Bar} kind="waits" from=${turn.start} to=${first} span=${span} />
        <${Bar} kind="reasons" from=${first} to=${thought} span=${span} />
        <${Bar} kind="answers" from=${thought} to=${until} span=${span} />
      </span>
      <span class="took">${seconds(until - turn.start)}</span>
    </li>`;
}

function Tool({ tool, now, span }) {
  const end = tool.end ?? now;
  const overlap = Math.min(tool.overlap ?? 0, end - tool.start);
  const wrong = tool.outcome && tool.outcome !== "ok" ? tool.outcome.replaceAll("_", " ") : "";
  const text = [
    `${tool.name}(${tool.arguments}): ${seconds(end - tool.start)}`,
    overlap > 0 && `${seconds(overlap)} of it while the model was writing`,
    wrong,
  ].filter(Boolean).join(", ");
  return html`
    <li class=${`tool${wrong ? " wrong" : ""}`} title=${text}>
      <span class="lane">${tool.name.split(".").at(-1)}</span>
      <span class="track">
        <${Bar} kind="overlaps" from=${tool.start} to=${tool.start + overlap} span=${span} />
        <${Bar} kind="runs" from=${tool.start + overlap} to=${end} span=${span} />
      </span>
      <span class="took">${wrong || seconds(end - tool.start)}</span>
    </li>`;
}

function Bar({ kind, from, to, span }) {
  if (to <= from) return null;
  return html`<i class=${kind} style=${{ left: `${(100 * from) / span}%`, width: `${(100 * (to - from)) / span}%` }}></i>`;
}
