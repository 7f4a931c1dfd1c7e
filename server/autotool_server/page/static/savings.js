// What auto saves and loses against one mode for everything, as the server's audits estimate it.
import { count } from "./format.js";
import { html } from "./html.js";

// Of fewer audited requests the figures would mislead: their intervals are wide, and a bootstrap of few is too narrow.
const ENOUGH = 100;

// `total`: the figures of all audited requests; null before the first one.
export function Savings({ total }) {
  return html`
    <article class="card wide">
      <h3>Savings of auto</h3>
      ${(total?.requests ?? 0) < ENOUGH ? html`<${TooFew} requests=${total?.requests ?? 0} />` : html`<${Compared} total=${total} />`}
    </article>`;
}

const TooFew = ({ requests }) =>
  html`<p>Audited requests: too few yet (${requests} of ${ENOUGH}) to say what auto saves.</p>`;

function Compared({ total }) {
  return html`
    <p class="headline">auto ${sentence(total.against_long, "thinking always")}</p>
    <p>It ${sentence(total.against_short, "never thinking")}</p>
    <p class="quiet">Estimated from ${count(total.requests)} audited requests; ± is half of a 95 % interval.</p>`;
}

// A saving that is negative takes more, and a loss that is negative solves more.
function sentence({ tokens_saved: tokens, points_lost: points }, other) {
  const taken = html`takes <b>${size(tokens)} % ${tokens.value < 0 ? "more" : "fewer"}</b> tokens than ${other} (± ${half(tokens)})`;
  const difference = size(points) === "0.0" ? "as many" : `${size(points)} ${points.value < 0 ? "more" : "fewer"}`;
  return html`${taken}, and solves <b>${difference}</b> of 100 requests (± ${half(points)}).`;
}

const size = ({ value }) => Math.abs(value).toFixed(1);

const half = ({ low, high }) => ((high - low) / 2).toFixed(1);
