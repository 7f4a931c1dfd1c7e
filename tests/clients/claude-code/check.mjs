// Anthropic's agent for the terminal: `claude -p`.
import { readFileSync, writeFileSync } from "node:fs";

import { API_KEY, MODEL, ROOT_URL, SAID, SAY, equal, program, run } from "./checks.mjs";

const ENVIRONMENT = {
  ANTHROPIC_BASE_URL: ROOT_URL,
  ANTHROPIC_API_KEY: API_KEY,
  ANTHROPIC_MODEL: MODEL,
  ANTHROPIC_DEFAULT_HAIKU_MODEL: MODEL,
  CLAUDE_CODE_MAX_CONTEXT_TOKENS: "100000",
  DISABLE_TELEMETRY: "1",
  DISABLE_ERROR_REPORTING: "1",
  DISABLE_AUTOUPDATER: "1",
};

// Run a prompt and return the content blocks of the model's messages and Claude Code's last report.
async function claude(prompt, options = [], environment = {}) {
  const args = ["-p", prompt, "--output-format", "stream-json", "--verbose", ...options];
  const events = (await program("claude", args, { ...ENVIRONMENT, ...environment })).trim().split("\n").map(JSON.parse);
  const content = events.filter((event) => event.type === "assistant").flatMap((event) => event.message.content);
  return { content, last: events.at(-1) };
}

async function answer() {
  const { last } = await claude(SAY);
  equal([last.subtype, last.result], ["success", SAID]);
  equal(last.usage.output_tokens > 0, true);
}

async function tools() {
  writeFileSync("word.txt", "heron");
  const copy = '<<call Bash {"command": "cat word.txt > copy.txt", "description": "Copy a word"}>>';
  const read = '<<call Bash {"command": "cat word.txt", "description": "Read a word"}>>';
  const { last } = await claude(`${copy}+${read} <<say It says RESULT.>>`, ["--allowedTools", "Bash"]);
  equal(readFileSync("copy.txt", "utf8"), "heron");
  equal(last.result, "It says heron.");
}

async function thinking() {
  const call = '<<think I look.>>+<<call Bash {"command": "ls", "description": "List"}>>';
  const { content, last } = await claude(`${call} <<think I saw it.>>+<<say Listed.>>`, ["--allowedTools", "Bash"]);
  equal(last.result, "Listed.");
  equal(content.map((block) => block.type), ["thinking", "tool_use", "thinking", "text"]);
}

async function bearer() {
  const { last } = await claude(SAY, [], { ANTHROPIC_API_KEY: "", ANTHROPIC_AUTH_TOKEN: API_KEY });
  equal(last.result, SAID);
}

await run("@anthropic-ai/claude-code", { answer, tools, thinking, "bearer token": bearer });
