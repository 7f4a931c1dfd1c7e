// The curve behind the sliders: what the dial has measured, or what the bias makes of the last decision.
import { axis, Chart } from "./chart.js";
import { count, percent, probability, signed } from "./format.js";
import { html } from "./html.js";

const BIASES = [0.25, 0.5, 1, 2, 4, 8, 16, 32]; // steps of their axis

const logistic = (x) => 1 / (1 + Math.exp(-x));

// `bias`: the one that holds now; `added`: what the server adds to it; `p`: the last p_long, or null.
export function Dial({ dial, bias, added, p, bounds }) {
  return dial ? Measured({ dial, bias }) : Computed({ bias, added, p, bounds });
}

// One chart for each figure, over the same biases.
function Measured({ dial, bias }) {
  const biases = dial.map((step) => step.bias);
  const solved = [biases, dial.map((step) => 100 * step.accuracy)];
  const tokens = [biases, dial.map((step) => step.generated_tokens)];
  const ofSolved = { label: "solved, %", stroke: "short", range: () => [0, 100] };
  const ofTokens = { label: "tokens", stroke: "long", range: (_, low, high) => [0, 1.1 * high], x: "bias" };
  const here = nearest(dial, bias);
  const said = `near a bias of ${signed(here.bias)}: ${percent(here.accuracy)} solved, ${count(here.generated_tokens)} tokens, ${percent(here.thinking_rate)} of turns think`;
  return html`
    <figure class="dial">
      <${Chart} height=${92} data=${solved} shape=${`solved ${bias}`} text=${`The dial: ${said}.`}
        options=${(colour) => curve(colour, bias, ofSolved)} />
      <${Chart} height=${118} data=${tokens} shape=${`tokens ${bias}`} text="Tokens of a task by bias"
        options=${(colour) => curve(colour, bias, ofTokens)} />
      <figcaption><${Marked} /> <span class="quiet">${said}</span></figcaption>
    </figure>`;
}

const Marked = () => html`<span class="key marked">current bias</span>`;

// A line over the bias. `label` names its axis; the axis of the bias is named `x`, or has no numbers.
function curve(colour, bias, { label, stroke, range, x, points = { size: 6 } }) {
  const below = x ? { size: 22, label: x, incrs: BIASES, values: (_, splits) => splits.map(signed) } : { size: 8, incrs: BIASES, values: () => [] };
  return {
    scales: { x: { time: false }, y: { range } },
    axes: [axis(colour, below), axis(colour, { label, size: 40 })],
    series: [{}, { stroke: colour(stroke), width: 2, points }],
    hooks: { draw: [marker(colour, bias)] },
  };
}

const nearest = (dial, bias) => dial.reduce((best, step) => (Math.abs(step.bias - bias) < Math.abs(best.bias - bias) ? step : best));

function Computed({ bias, added, p, bounds }) {
  const known = Math.min(Math.max(p ?? 0.5, 1e-6), 1 - 1e-6);
  const odds = Math.log(known / (1 - known)) + added;
  const biases = Array.from({ length: 81 }, (_, index) => bounds[0] + ((bounds[1] - bounds[0]) * index) / 80);
  const data = [biases, biases.map((one) => logistic(odds + one))];
  const drawn = { label: "probability of long", stroke: "auto", range: () => [0, 1], x: "bias", points: { show: false } };
  const said = `${p === null ? "A p_long of 0.50 would be" : `The last p_long, ${probability(p)}, becomes`} ${probability(logistic(odds + bias))} with this bias.`;
  return html`
    <figure class="dial">
      <${Chart} height=${150} data=${data} shape=${`computed ${bias} ${added} ${bounds} ${p}`} text=${said}
        options=${(colour) => curve(colour, bias, drawn)} />
      <figcaption><${Marked} /> <span class="quiet">${said}</span></figcaption>
    </figure>`;
}

// Draw a line at the bias.
function marker(colour, bias) {
  const stroke = colour("ink");
  return (plot) => {
    const x = plot.valToPos(bias, "x", true);
    const { left, top, width, height } = plot.bbox;
    if (x < left - 1 || x > left + width + 1) return;
    plot.ctx.save();
    Object.assign(plot.ctx, { strokeStyle: stroke, lineWidth: 1.5 * devicePixelRatio });
    plot.ctx.setLineDash([4 * devicePixelRatio, 3 * devicePixelRatio]);
    plot.ctx.beginPath();
    plot.ctx.moveTo(x, top);
    plot.ctx.lineTo(x, top + height);
    plot.ctx.stroke();
    plot.ctx.restore();
  };
}
