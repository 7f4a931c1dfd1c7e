// The needle: the model's own probability of a long answer, over the arc of what the decision's bias makes of it.
import { percent, probability } from "./format.js";
import { html } from "./html.js";
import { currentBias, movedBias } from "./request.js";

const RADIUS = 78;
const CENTRE = { x: 100, y: 92 };

const logistic = (x) => 1 / (1 + Math.exp(-x));

// The point of the arc at a probability, 0 at the left and 1 at the right end.
function at(p, radius = RADIUS) {
  const angle = Math.PI * (1 - p);
  return `${(CENTRE.x + radius * Math.cos(angle)).toFixed(2)} ${(CENTRE.y - radius * Math.sin(angle)).toFixed(2)}`;
}

const arc = (from, to) => `M ${at(from)} A ${RADIUS} ${RADIUS} 0 0 1 ${at(to)}`;

// Above this p_long, long is the likelier mode with a bias, and at temperature 0 the mode that is taken.
const edgeOf = (bias) => logistic(-bias);

export function Needle({ run, state }) {
  const decided = run?.decisions ?? [];
  const last = decided.at(-1) ?? null;
  const edge = edgeOf(last ? last.reasoning_bias : currentBias(state));
  const moved = movedBias(state, run);
  const said = last ? [drawn(last, edge, run.temperature), ...(moved === null ? [] : [wouldBe(moved)])] : [];
  const described = [last ? `p_long ${probability(last.p_long)}` : "no decision yet", ...said].join("; ");
  return html`
    <figure class="needle">
      <svg viewBox="0 0 200 104" role="img" aria-label=${described}>
        <path class="arc-short" d=${arc(0, Math.max(edge, 0.001))} />
        <path class="arc-long" d=${arc(Math.min(edge, 0.999), 1)} />
        ${[0.25, 0.5, 0.75].map((mark) => html`<path class="mark" d=${`M ${at(mark, 62)} L ${at(mark, 67)}`} />`)}
        ${moved !== null && html`<path class="moved" d=${`M ${at(edgeOf(moved), 66)} L ${at(edgeOf(moved), 92)}`} />`}
        <${Hand} p=${last?.p_long ?? null} />
      </svg>
      <figcaption>
        <${Decided} decided=${decided} />
        ${said.map((one) => html`<span class="quiet line">${one}</span>`)}
      </figcaption>
    </figure>`;
}

function Hand({ p }) {
  const turned = { transform: `rotate(${180 * ((p ?? 0.5) - 0.5)}deg)`, transformOrigin: `${CENTRE.x}px ${CENTRE.y}px` };
  return html`
    <g class=${`hand${p === null ? " idle" : ""}`} style=${turned}>
      <path d=${`M ${CENTRE.x - 3} ${CENTRE.y} L ${CENTRE.x} ${CENTRE.y - 60} L ${CENTRE.x + 3} ${CENTRE.y} Z`} />
      <circle cx=${CENTRE.x} cy=${CENTRE.y} r="6" />
    </g>`;
}

function Decided({ decided }) {
  if (!decided.length) return html`<span class="quiet">p_long: no decision yet</span>`;
  const all = decided.map((one) => probability(one.p_long));
  const earlier = all.length > 1 && html` <span class="quiet">earlier turns: ${all.slice(0, -1).join(", ")}</span>`;
  return html`<span>p_long <b>${all.at(-1)}</b></span>${earlier}`;
}

// How the decision came from p_long.
function drawn({ p_long: p, reasoning_bias: bias }, edge, temperature) {
  if (temperature === 0) return `long above ${probability(edge)}`;
  return `drawn at random, ${percent(logistic((Math.log(p / (1 - p)) + bias) / temperature))} for long`;
}

const wouldBe = (bias) => `with the slider as it is now, the edge would be ${probability(edgeOf(bias))}`;
