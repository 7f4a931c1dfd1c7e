// The head of the page: what is served, whether the server answers, the key and the theme.
import { hasKey, setKey } from "./api.js";
import { count } from "./format.js";
import { html } from "./html.js";
import { load, watch } from "./server.js";
import { update } from "./store.js";

const LINKS = { connecting: "connecting", up: "ready", loading: "loading", lost: "not reachable", key: "needs a key" };
const THEMES = { system: "light", light: "dark", dark: "system" };

const root = document.documentElement;

const stored = sessionStorage.getItem("theme");
if (stored in THEMES && stored !== "system") root.dataset.theme = stored;

export function Header({ state }) {
  return html`
    <header class="top">
      <img src="page/icon.svg" alt="" width="28" height="28" />
      <h1>AutoTool Server</h1>
      ${state.model && html`<span class="model" title=${`context ${count(state.model.max_model_len)} tokens`}>${state.model.id}</span>`}
      <span class=${`link ${state.link}`}>${LINKS[state.link]}</span>
      <span class="grow"></span>
      <a href="docs" title="Documentation of the API. Its page loads Swagger UI from the internet.">API</a>
      ${(state.link === "key" || hasKey() || state.keyOpen) && html`
        <button class="small" aria-expanded=${state.keyOpen} onClick=${() => update({ keyOpen: !state.keyOpen })}>Key</button>`}
      <${Theme} />
    </header>`;
}

function Theme() {
  const now = root.dataset.theme ?? "system";
  return html`<button class="small" onClick=${nextTheme} aria-label=${`Theme: ${now}. Change it to ${THEMES[now]}`}>${now === "system" ? "◐" : now === "light" ? "☀" : "☾"}</button>`;
}

function nextTheme() {
  const next = THEMES[root.dataset.theme ?? "system"];
  if (next === "system") delete root.dataset.theme;
  else root.dataset.theme = next;
  sessionStorage.setItem("theme", next);
  document.dispatchEvent(new Event("themechange"));
  update({});
}

// What is wrong with the server, and what can be done about it.
export function Banner({ state }) {
  if (state.keyOpen) return html`<${KeyForm} problem=${state.problem} />`;
  if (state.link !== "lost" && state.link !== "loading") return null;
  return html`
    <div class=${`banner ${state.link}`} role="status">
      <span>${state.problem} ${state.link === "lost" ? "The page tries again every two seconds." : ""}</span>
      <button class="small" onClick=${watch}>Retry now</button>
    </div>`;
}

function KeyForm({ problem }) {
  const take = () => {
    setKey(document.getElementById("key").value);
    load();
  };
  const onKeyDown = (event) => event.key === "Enter" && take();
  return html`
    <div class="banner" role="group" aria-label="Key of the server">
      <span>${problem || "Another key?"} It stays in this tab, and is gone when the page is left.</span>
      <label class="hidden" for="key">API key</label>
      <input id="key" type="password" autocomplete="off" placeholder="API key" onKeyDown=${onKeyDown} />
      <button class="primary small" onClick=${take}>Use it</button>
    </div>`;
}
