// An agent for the terminal: `opencode run`, with a provider of the AI SDK for each protocol.
import { readFileSync, writeFileSync } from "node:fs";

import { API_KEY, BASE_URL, MODEL, SAID, SAY, equal, program, run } from "./checks.mjs";

const options = { baseURL: BASE_URL, apiKey: API_KEY };
const models = { [MODEL]: { reasoning: true, tool_call: true, limit: { context: 100_000, output: 8_000 } } };
const CONFIG = {
  autoupdate: false,
  share: "disabled",
  permission: "allow",
  provider: {
    chat: { npm: "@ai-sdk/openai-compatible", options, models },
    responses: { npm: "@ai-sdk/openai", options, models },
  },
};

// Run a prompt and return what the model said.
async function opencode(provider, prompt) {
  const args = ["run", "--format", "json", "--model", `${provider}/${MODEL}`];
  const output = await program("opencode", args, {}, prompt); // an argument would be quoted as for a shell
  const events = output.trim().split("\n").map(JSON.parse);
  return events.filter((event) => event.type === "text").map((event) => event.part.text);
}

async function answer(provider) {
  equal(await opencode(provider, SAY), [SAID]);
}

async function tools(provider) {
  writeFileSync("word.txt", provider);
  const copy = '<<call bash {"command": "cat word.txt > copy.txt", "description": "Copy a word"}>>';
  const read = '<<call bash {"command": "cat word.txt", "description": "Read a word"}>>';
  const prompt = `<<think I copy it.>>+${copy}+${read} <<say It says RESULT.>>`;
  equal(await opencode(provider, prompt), [`It says ${provider}.`]);
  equal(readFileSync("copy.txt", "utf8"), provider);
}

writeFileSync("opencode.json", JSON.stringify(CONFIG));
await run("opencode-ai", {
  "chat answer": () => answer("chat"),
  "chat tools": () => tools("chat"),
  "responses answer": () => answer("responses"),
  "responses tools": () => tools("responses"),
});
