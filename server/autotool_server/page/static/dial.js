// The curve behind the sliders: what the dial has measured, or what the bias makes of the last decision.
import { axis, Chart } from "./chart.js";
import { count, percent, probability, signed } from "./format.js";
import { html } from "./html.js";

const logistic = (x) => 1 / (1 + Math.exp(-x));

// `bias`: the one that holds now; `added`: what the server adds to it; `p`: the last p_long, or null.
export function Dial({ dial, bias, added, p, bounds }) {
  return dial ? Measured({ dial, bias }) : Computed({ bias, added, p, bounds });
}

function Measured({ dial, bias }) {
  const data = [
    dial.map((step) => step.bias),
    dial.map((step) => 100 * step.accuracy),
    dial.map((step) => step.generated_tokens),
  ];
  const here = nearest(dial, bias);
  const said = `near a bias of ${signed(here.bias)}: ${percent(here.accuracy)} solved, ${count(here.generated_tokens)} tokens, ${percent(here.thinking_rate)} of turns think`;
  return html`
    <figure class="dial">
      <${Chart} height=${150} data=${data} shape=${`measured ${bias}`} options=${(colour) => measuredOptions(colour, bias)} text=${`The dial: ${said}.`} />
      <figcaption><span class="key answers">solved, %</span> <span class="key reasons">tokens</span> <span class="quiet">${said}</span></figcaption>
    </figure>`;
}

function measuredOptions(colour, bias) {
  return {
    scales: { x: { time: false }, tokens: { range: (_, low, high) => [0, 1.1 * high] }, y: { range: [0, 100] } },
    axes: [axis(colour, { size: 26 }), axis(colour), axis(colour, { side: 1, scale: "tokens", grid: { show: false } })],
    series: [
      {},
      { stroke: colour("short"), width: 2, points: { size: 6 } },
      { stroke: colour("long"), width: 2, scale: "tokens", points: { size: 6 } },
    ],
    hooks: { draw: [marker(colour, bias)] },
  };
}

const nearest = (dial, bias) => dial.reduce((best, step) => (Math.abs(step.bias - bias) < Math.abs(best.bias - bias) ? step : best));

function Computed({ bias, added, p, bounds }) {
  const known = Math.min(Math.max(p ?? 0.5, 1e-6), 1 - 1e-6);
  const odds = Math.log(known / (1 - known)) + added;
  const biases = Array.from({ length: 81 }, (_, index) => bounds[0] + ((bounds[1] - bounds[0]) * index) / 80);
  const data = [biases, biases.map((one) => logistic(odds + one))];
  const said = `${p === null ? "A p_long of 0.50 would be" : `The last p_long, ${probability(p)}, becomes`} ${probability(logistic(odds + bias))} with this bias.`;
  return html`
    <figure class="dial">
      <${Chart} height=${150} data=${data} shape=${`computed ${bias} ${added} ${bounds} ${p}`} options=${(colour) => computedOptions(colour, bias)} text=${said} />
      <figcaption><span class="key auto">probability of long</span> <span class="quiet">${said}</span></figcaption>
    </figure>`;
}

function computedOptions(colour, bias) {
  return {
    scales: { x: { time: false }, y: { range: [0, 1] } },
    axes: [axis(colour, { size: 26 }), axis(colour)],
    series: [{}, { stroke: colour("auto"), width: 2, points: { show: false } }],
    hooks: { draw: [marker(colour, bias)] },
  };
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
