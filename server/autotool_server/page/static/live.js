// What the server does: requests by mode, decisions, what both modes cost, and its load.
import { axis, Chart } from "./chart.js";
import { count, counted, seconds, signed } from "./format.js";
import { html } from "./html.js";
import { buckets, sum } from "./prometheus.js";
import { Savings } from "./savings.js";
import { MODES } from "./store.js";

export function Live({ live, savings }) {
  if (!live) return null;
  const { samples, history } = live;
  return html`
    <section class="live" aria-labelledby="live-title">
      <h2 id="live-title">This server <span class="quiet">since its start</span></h2>
      <div class="cards">
        ${savings && (savings.share > 0 || savings.total) && html`<${Savings} total=${savings.total} />`}
        <${Requests} samples=${samples} />
        <${Decisions} samples=${samples} />
        <${Costs} samples=${samples} />
        <${Load} samples=${samples} history=${history} />
      </div>
    </section>`;
}

const requests = (samples, where) => sum(samples, "autotool_requests_total", where) ?? 0;

function Requests({ samples }) {
  const rows = MODES.map((mode) => {
    const [long, short] = ["long", "short"].map((resolved) => requests(samples, { mode, resolved }));
    return { mode, long, short, all: requests(samples, { mode }) };
  });
  const most = Math.max(1, ...rows.map(({ all }) => all));
  return html`
    <article class="card">
      <h3>Requests by mode</h3>
      <ul class="bars">
        ${rows.map(({ mode, long, short, all }) => html`
          <li>
            <span>${mode}</span>
            <span class="track" title=${`${count(long)} long, ${count(short)} short`}>
              <i class="answers" style=${{ width: `${(100 * short) / most}%` }}></i>
              <i class="reasons" style=${{ width: `${(100 * long) / most}%` }}></i>
            </span>
            <b>${count(all)}</b>
          </li>`)}
      </ul>
      <p class="quiet"><span class="key answers">answered short</span> <span class="key reasons">long</span></p>
    </article>`;
}

function Decisions({ samples }) {
  const bars = buckets(samples, "autotool_p_long");
  const most = Math.max(1, ...bars.map((bar) => bar.count));
  const all = bars.reduce((total, bar) => total + bar.count, 0);
  const mean = all ? (sum(samples, "autotool_p_long_sum") / all).toFixed(2) : null;
  return html`
    <article class="card">
      <h3>p_long of decisions</h3>
      <div class="histogram" role="img" aria-label=${bars.map((bar) => `up to ${Math.min(bar.bound, 1)}: ${bar.count}`).join(", ")}>
        ${bars.map((bar, index) => html`
          <i class=${index < 5 ? "answers" : "reasons"} title=${`${count(bar.count)} from ${index / 10} to ${(index + 1) / 10}`}
            style=${{ height: bar.count ? `${Math.max(3, (100 * bar.count) / most)}%` : "1px" }}></i>`)}
      </div>
      <p class="scale quiet"><span>0</span><span>0.5</span><span>1</span></p>
      <p class="quiet">${mean ? `${counted(all, "decision")}, mean ${mean}` : "no decision yet"}</p>
    </article>`;
}

function Costs({ samples }) {
  const rows = ["long", "short"].map((resolved) => {
    const answers = sum(samples, "autotool_request_seconds_count", { resolved }) ?? 0;
    const tokens = (kind) => sum(samples, "autotool_tokens_total", { resolved, kind }) ?? 0;
    const decoded = tokens("reasoning") + tokens("content") + tokens("decision");
    const time = sum(samples, "autotool_request_seconds_sum", { resolved }) ?? 0;
    return { resolved, answers, decoded, each: answers ? decoded / answers : null, time: answers ? (1000 * time) / answers : null };
  });
  return html`
    <article class="card">
      <h3>Tokens and time of answers</h3>
      <table>
        <thead><tr><th scope="col">answered</th><th scope="col">answers</th><th scope="col">tokens each</th><th scope="col">time each</th></tr></thead>
        <tbody>
          ${rows.map(({ resolved, answers, each, time }) => html`
            <tr>
              <th scope="row"><span class=${`chip ${resolved}`}>${resolved}</span></th>
              <td>${count(answers)}</td><td>${each === null ? "–" : count(each)}</td><td>${time === null ? "–" : seconds(time)}</td>
            </tr>`)}
        </tbody>
      </table>
      <p class="quiet">${count(rows[0].decoded + rows[1].decoded)} tokens decoded in all</p>
    </article>`;
}

function Load({ samples, history }) {
  const now = history.at(-1);
  const data = [history.map(({ at }) => at), history.map(({ running }) => running), history.map(({ waiting }) => waiting)];
  const text = `${counted(now.running, "request")} running, ${now.waiting} waiting`;
  return html`
    <article class="card">
      <h3>Load</h3>
      <${Chart} height=${96} data=${data} shape=${`load ${now.at}`} options=${loadOptions} text=${`${text}, over the last three minutes`} />
      <p class="quiet"><span class="key auto">${count(now.running)} running</span> <span class="key waits">${count(now.waiting)} waiting</span></p>
      <${Biases} samples=${samples} />
    </article>`;
}

function loadOptions(colour) {
  const line = (name) => ({ stroke: colour(name), width: 2, points: { show: false } });
  return {
    scales: { x: { range: (_, low, high) => [high - 180, high] }, y: { range: (_, low, high) => [0, Math.max(4, high)] } },
    axes: [{ show: false }, axis(colour, { size: 28, incrs: [1, 2, 5, 10, 50, 100, 500, 1000] })],
    series: [{}, { ...line("auto"), fill: colour("auto-soft") }, line("waits")],
  };
}

// What targets and load add to the log-odds of long, where the server has any.
function Biases({ samples }) {
  const load = sum(samples, "autotool_load_bias") || null;
  const targets = samples.get("autotool_target_bias") ?? [];
  if (load === null && !targets.length) return null;
  const shown = (value) => signed(Number(value.toFixed(2)));
  return html`
    <dl class="biases">
      ${load !== null && html`<div><dt>bias of the load</dt><dd>${shown(load)}</dd></div>`}
      ${targets.map(({ labels, value }) => html`<div><dt>${labels.scope}: ${labels.target}</dt><dd>${shown(value)}</dd></div>`)}
    </dl>`;
}
