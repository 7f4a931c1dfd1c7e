// OpenAI's agent for the terminal: `codex exec`, with the provider that a user writes into its configuration.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";

import { ADA, BASE_URL, MODEL, PERSON, SAID, SAY, equal, program, run } from "./checks.mjs";

const CONFIG = `
model = "${MODEL}"
model_provider = "autotool"
model_context_window = 100000
check_for_update_on_startup = false

[analytics]
enabled = false

[model_providers.autotool]
name = "AutoTool Server"
base_url = "${BASE_URL}"
env_key = "API_KEY"
wire_api = "responses"
request_max_retries = 0
stream_max_retries = 0
`;
const SCHEMA = {
  type: "object",
  properties: { name: { type: "string" }, age: { type: "integer" } },
  required: ["name", "age"],
  additionalProperties: false,
};

// Run a prompt and return the items of Codex's own report.
async function exec(prompt, ...options) {
  const free = ["--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox"]; // in a scratch folder
  const lines = (await program("codex", ["exec", "--json", ...free, ...options, prompt])).trim().split("\n");
  return lines.map(JSON.parse).filter((event) => event.type === "item.completed").map((event) => event.item);
}

function texts(items, type = "agent_message") {
  return items.filter((item) => item.type === type).map((item) => item.text);
}

async function answer() {
  equal(texts(await exec(SAY)), [SAID]);
}

async function tools() {
  writeFileSync("word.txt", "heron");
  const copy = '<<call exec_command {"cmd": "cat word.txt > copy.txt"}>>';
  const items = await exec(`${copy}+<<call exec_command {"cmd": "cat word.txt"}>> <<say Output: RESULT>>`);
  equal(readFileSync("copy.txt", "utf8"), "heron");
  const commands = items.filter((item) => item.type === "command_execution");
  equal(commands.map((command) => command.exit_code), [0, 0]);
  equal(texts(items)[0].endsWith("heron"), true);
}

async function reasoning() {
  const prompt = '<<think I list it.>>+<<call exec_command {"cmd": "ls"}>> <<think I saw it.>>+<<say Listed.>>';
  const items = await exec(prompt, "-c", "model_reasoning_effort=high", "-c", "model_reasoning_summary=detailed");
  equal(texts(items), ["Listed."]);
  equal(texts(items, "reasoning"), ["I list it.", "I saw it."]);
}

async function outputSchema() {
  writeFileSync("schema.json", JSON.stringify(SCHEMA));
  equal(JSON.parse(texts(await exec(PERSON, "--output-schema", "schema.json"))[0]), ADA);
}

async function resume() {
  await exec("The first turn <<say one>>");
  const items = await program("codex", ["exec", "--skip-git-repo-check", "resume", "--last", "The second <<say two>>"]);
  equal(items.trim(), "two");
}

mkdirSync(`${process.env.HOME}/.codex`);
writeFileSync(`${process.env.HOME}/.codex/config.toml`, CONFIG);
await run("@openai/codex", { answer, tools, reasoning, "output schema": outputSchema, resume });
