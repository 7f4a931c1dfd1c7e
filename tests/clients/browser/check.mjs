// A page of another origin in a browser: its own fetch, and OpenAI's client. The server allows http://app.example.
import { existsSync, readFileSync } from "node:fs";

import { chromium } from "playwright-core";

import { API_KEY, BASE_URL, MODEL, SAID, SAY, equal, run } from "./checks.mjs";

const PLACES = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
const server = { BASE_URL, MODEL, API_KEY, SAY };

const browser = await chromium.launch({
  executablePath: PLACES.find(existsSync),
  // The sandbox needs rights that a container does not give; a user is asked before a page may call a local server.
  args: ["--no-sandbox", "--disable-features=LocalNetworkAccessChecks"],
});

// Run a function in a page of an origin and return its result. The page's files are those of the packages.
async function inPage(origin, work) {
  const page = await browser.newPage();
  page.on("console", (message) => console.error(message.text()));
  await page.route(`${origin}/**`, (route) => route.fulfill(file(new URL(route.request().url()).pathname)));
  await page.goto(`${origin}/`);
  return page.evaluate(work, server);
}

function file(path) {
  if (path === "/") return { contentType: "text/html", body: "<title>A page</title>" };
  return { contentType: "text/javascript", body: readFileSync(`${import.meta.dirname}/node_modules${path}`) };
}

async function fetchStream() {
  const { text, requestId } = await inPage("http://app.example", async ({ BASE_URL, MODEL, API_KEY, SAY }) => {
    const answer = await fetch(`${BASE_URL}/chat/completions`, {
      method: "POST",
      headers: { authorization: `Bearer ${API_KEY}`, "content-type": "application/json", "x-request-id": "page-1" },
      body: JSON.stringify({ model: MODEL, messages: [{ role: "user", content: SAY }], stream: true }),
    });
    let read = "";
    for await (const bytes of answer.body.pipeThrough(new TextDecoderStream())) read += bytes;
    const events = read.split("\n\n").filter((event) => event.startsWith("data: {"));
    const text = events.map((event) => JSON.parse(event.slice(6)).choices[0]?.delta.content ?? "").join("");
    return { text, requestId: answer.headers.get("x-request-id") };
  });
  equal([text, requestId], [SAID, "page-1"]);
}

async function openai() {
  const text = await inPage("http://app.example", async ({ BASE_URL, MODEL, API_KEY, SAY }) => {
    const { OpenAI } = await import("/openai/index.mjs");
    const client = new OpenAI({ baseURL: BASE_URL, apiKey: API_KEY, maxRetries: 0, dangerouslyAllowBrowser: true });
    return client.chat.completions.stream({ model: MODEL, messages: [{ role: "user", content: SAY }] }).finalContent();
  });
  equal(text, SAID);
}

async function errors() {
  const status = await inPage("http://app.example", async ({ BASE_URL }) => (await fetch(`${BASE_URL}/models`)).status);
  equal(status, 401); // an error without the headers would be a network error to the page
}

async function otherOrigin() {
  const models = ({ BASE_URL }) => fetch(`${BASE_URL}/models`).catch((error) => error.name);
  equal(await inPage("http://other.example", models), "TypeError");
}

const checks = { "fetch stream": fetchStream, openai, errors, "other origin": otherOrigin };
await run("playwright-core", checks, browser.version());
