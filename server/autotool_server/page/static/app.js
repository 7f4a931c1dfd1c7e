// The page: everything in its place, the keyboard, and the clock of running answers.
import { anyActive, Ask, Steer, tryToAsk } from "./controls.js";
import { Column } from "./column.js";
import { Banner, Header } from "./header.js";
import { html, render } from "./html.js";
import { Live } from "./live.js";
import { elapsed, stopAll } from "./run.js";
import { watch } from "./server.js";
import { MODES, onChange, state, touch } from "./store.js";
import { Verdict } from "./verdict.js";

function App() {
  const runs = MODES.map((mode) => state.runs[mode]).filter(Boolean);
  const most = Math.max(16, ...runs.map((run) => run.usage?.completion_tokens ?? 0));
  const span = Math.max(250, ...runs.map(elapsed));
  return html`
    <${Header} state=${state} />
    <main>
      <${Banner} state=${state} />
      <div class="question"><${Ask} state=${state} /><${Steer} state=${state} /></div>
      <${Verdict} runs=${state.runs} />
      <div class="columns">
        ${MODES.map((mode) => html`<${Column} key=${mode} mode=${mode} run=${state.runs[mode]} state=${state} most=${most} span=${span} />`)}
      </div>
      <${Live} live=${state.live} savings=${state.savings} />
    </main>
    <footer>AutoTool Server ${state.version} · Your questions go to this server only.</footer>
    <p class="hidden" role="status">${state.said}</p>`;
}

addEventListener("keydown", (event) => {
  const asks = event.key === "Enter" && (event.ctrlKey || event.metaKey);
  if (asks && !anyActive(state)) tryToAsk(state);
  if (event.key === "Escape") stopAll();
});
document.addEventListener("visibilitychange", watch);
setInterval(() => anyActive(state) && touch(), 100);

onChange(() => render(html`<${App} />`, document.getElementById("app")));
touch();
watch();
