// The decision record as JSON, as it came.
import { html } from "./html.js";

const TOKEN = /("(?:[^"\\]|\\.)*")(\s*:)?|\b(true|false|null)\b|-?\d+(?:\.\d+)?(?:e[+-]?\d+)?/g;

export function Record({ record, mode }) {
  return html`
    <details>
      <summary>Decision record</summary>
      <pre class="json" role="group" tabindex="0" aria-label=${`Decision record of ${mode}`}>${coloured(JSON.stringify(record, null, 2))}</pre>
    </details>`;
}

// Return JSON as texts and elements that colours can be given to.
function coloured(text) {
  const parts = [];
  let from = 0;
  for (const found of text.matchAll(TOKEN)) {
    const [whole, string, colon, word] = found;
    const kind = colon ? "name" : string ? "string" : word ? "word" : "number";
    const shown = string ?? whole;
    parts.push(text.slice(from, found.index), html`<span class=${kind}>${shown}</span>`);
    from = found.index + shown.length;
  }
  return [...parts, text.slice(from)];
}
