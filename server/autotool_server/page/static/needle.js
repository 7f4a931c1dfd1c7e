// The needle: the model's own probability of a long answer, over the arc of what that means with the present bias.
import { probability, signed } from "./format.js";
import { html } from "./html.js";

const RADIUS = 78;
const CENTRE = { x: 100, y: 92 };

const logistic = (x) => 1 / (1 + Math.exp(-x));

// The point of the arc at a probability, 0 at the left and 1 at the right end.
function at(p, radius = RADIUS) {
  const angle = Math.PI * (1 - p);
  return `${(CENTRE.x + radius * Math.cos(angle)).toFixed(2)} ${(CENTRE.y - radius * Math.sin(angle)).toFixed(2)}`;
}

const arc = (from, to) => `M ${at(from)} A ${RADIUS} ${RADIUS} 0 0 1 ${at(to)}`;

// `decided`: p_long of each turn so far. `forced`: "long" or "short" where the request sets the mode.
export function Needle({ decided, forced, bias }) {
  const p = decided.at(-1) ?? null;
  // At temperature 0 what is right of this point becomes long.
  const edge = forced ? (forced === "long" ? 0 : 1) : logistic(-bias);
  const turned = { transform: `rotate(${180 * ((p ?? 0.5) - 0.5)}deg)`, transformOrigin: `${CENTRE.x}px ${CENTRE.y}px` };
  return html`
    <figure class=${`needle${forced ? " forced" : ""}`}>
      <svg viewBox="0 0 200 104" role="img" aria-label=${described(p, forced, bias)}>
        <path class="arc-short" d=${arc(0, Math.max(edge, 0.001))} />
        <path class="arc-long" d=${arc(Math.min(edge, 0.999), 1)} />
        ${!forced && [0.25, 0.5, 0.75].map((mark) => html`<path class="mark" d=${`M ${at(mark, 62)} L ${at(mark, 67)}`} />`)}
        ${!forced && html`
          <g class=${`hand${p === null ? " idle" : ""}`} style=${turned}>
            <path d=${`M ${CENTRE.x - 3} ${CENTRE.y} L ${CENTRE.x} ${CENTRE.y - 60} L ${CENTRE.x + 3} ${CENTRE.y} Z`} />
            <circle cx=${CENTRE.x} cy=${CENTRE.y} r="6" />
          </g>`}
      </svg>
      <figcaption>${caption(decided, forced)}</figcaption>
    </figure>`;
}

function described(p, forced, bias) {
  if (forced) return `The request sets the mode ${forced}.`;
  const known = p === null ? "No decision yet" : `p_long ${probability(p)}`;
  return `${known}; with the bias ${signed(bias)} answers are long from a p_long of ${probability(logistic(-bias))} on.`;
}

function caption(decided, forced) {
  if (forced) return html`<span class="quiet">set by the request</span>`;
  if (!decided.length) return html`<span class="quiet">p_long</span>`;
  const earlier = decided.length > 1 && html` <span class="quiet">before: ${decided.slice(0, -1).map(probability).join(", ")}</span>`;
  return html`<span>p_long <b>${probability(decided.at(-1))}</b></span>${earlier}`;
}
