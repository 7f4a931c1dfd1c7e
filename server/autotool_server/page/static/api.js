// Calls of the server that the page came from. The key lives in this module, and so in the memory of the tab alone.

let key = "";

export function setKey(text) {
  key = text.trim();
}

export const hasKey = () => key !== "";

// An error that says in plain words what happened. `kind`: "unreachable", "key", "loading" or "refused".
export class Problem extends Error {
  constructor(kind, message, retryAfter = null) {
    super(message);
    this.kind = kind;
    this.retryAfter = retryAfter;
  }
}

// Return the answer to a request. Throws a Problem unless it is a success, and AbortError if it was stopped.
export async function call(path, { body, signal, accept } = {}) {
  const headers = { ...(accept && { accept }), ...(key && { authorization: `Bearer ${key}` }) };
  const options = { headers, signal, cache: "no-store", credentials: "same-origin" };
  if (body) Object.assign(options, { method: "POST", body: JSON.stringify(body) });
  if (body) headers["content-type"] = "application/json";
  let answer;
  try {
    answer = await fetch(new URL(path, document.baseURI), options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem("unreachable", "The server does not answer. It may have stopped, or the connection is down.");
  }
  if (!answer.ok) throw await problemOf(answer);
  return answer;
}

async function problemOf(answer) {
  const error = await answer.json().then((body) => body.error ?? {}, () => ({}));
  const said = error.message || `The server answered with status ${answer.status}.`;
  const seconds = Number(answer.headers.get("retry-after")) || null;
  if (answer.status === 401) return new Problem("key", hasKey() ? "This key is not one of the server's." : "The server asks for a key.");
  if (answer.status === 503 && error.code === "overloaded") return new Problem("loading", said, seconds ?? 2);
  if (answer.status === 429) return new Problem("refused", `A limit of this key is reached. ${said}`, seconds);
  return new Problem("refused", said, seconds);
}

// Yield the objects of a stream of server-sent events. Throws a Problem if it is cut off before its end.
export async function* events(answer) {
  try {
    for await (const data of eventData(answer.body)) {
      if (data === "[DONE]") return;
      const event = JSON.parse(data);
      if (event.error) throw new Problem("refused", event.error.message);
      yield event;
    }
  } catch (error) {
    if (error instanceof Problem || error.name === "AbortError") throw error;
    throw new Problem("unreachable", "The connection broke off in the middle of the answer.");
  }
  throw new Problem("unreachable", "The connection ended in the middle of the answer.");
}

// Yield the data of each event of a stream of bytes, however these are cut into parts.
export async function* eventData(bytes) {
  const reader = bytes.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const blocks = (text + value).split(/\r?\n\r?\n/);
    text = blocks.pop();
    for (const block of blocks) {
      const lines = block.split(/\r?\n/).filter((line) => line.startsWith("data:"));
      if (lines.length) yield lines.map((line) => line.slice(5).trimStart()).join("\n");
    }
  }
}
