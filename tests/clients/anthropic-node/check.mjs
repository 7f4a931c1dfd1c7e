// Anthropic's own client: messages, their stream, tools and thinking, and the count of tokens.
import Anthropic from "@anthropic-ai/sdk";
import { betaZodTool } from "@anthropic-ai/sdk/helpers/beta/zod";
import { zodOutputFormat } from "@anthropic-ai/sdk/helpers/zod";
import { z } from "zod";

import {
  ADA, API_KEY, MODEL, PERSON, ROOT_URL, SAID, SAY, THREE_TURNS, THREE_TURNS_SAID, equal, getWeather, run,
} from "./checks.mjs";

const client = new Anthropic({ baseURL: ROOT_URL, apiKey: API_KEY, maxRetries: 0 });
const Person = z.object({ name: z.string(), age: z.number().int() });
const weather = betaZodTool({
  name: "get_weather",
  description: "Get the weather of a city.",
  inputSchema: z.object({ city: z.string() }),
  run: getWeather,
});
const ask = (content) => ({ model: MODEL, max_tokens: 1000, messages: [{ role: "user", content }] });

async function message() {
  const answer = await client.messages.create(ask(SAY));
  equal(answer.content.map((block) => block.text), [SAID]);
  equal(answer.stop_reason, "end_turn");
}

async function stream() {
  const stream = client.messages.stream(ask(SAY));
  let text = "";
  stream.on("text", (delta) => (text += delta));
  equal(await stream.finalText(), SAID);
  equal(text, SAID);
}

async function thinking() {
  const prompt = "<<think I know it.>>+<<say Paris.>>";
  const body = { ...ask(prompt), max_tokens: 4000, thinking: { type: "enabled", budget_tokens: 2000 } };
  const first = await client.messages.stream(body).finalMessage();
  equal(first.content.map((block) => block.thinking ?? block.text), ["I know it.", "Paris."]);
  body.messages.push({ role: "assistant", content: first.content }, { role: "user", content: SAY });
  const second = await client.messages.create(body);
  equal(second.content.at(-1).text, SAID);
}

async function parse() {
  const answer = await client.messages.parse({ ...ask(PERSON), output_config: { format: zodOutputFormat(Person) } });
  equal(answer.parsed_output, ADA);
}

async function toolRunner(stream) {
  const runner = client.beta.messages.toolRunner({ ...ask(THREE_TURNS), tools: [weather], stream });
  const last = await runner.runUntilDone();
  equal(last.content.at(-1).text, THREE_TURNS_SAID);
}

async function countTokens() {
  const { max_tokens, ...body } = ask(SAY);
  const { input_tokens } = await client.messages.countTokens(body);
  const { usage } = await client.messages.create(ask(SAY));
  // The answer's own beginning, which closes an empty thought, is not in the count.
  equal(input_tokens <= usage.input_tokens && usage.input_tokens < input_tokens + 10, true);
}

async function wrongKey() {
  const wrong = new Anthropic({ baseURL: ROOT_URL, apiKey: "wrong", maxRetries: 0 });
  const error = await wrong.messages.create(ask(SAY)).catch((error) => error);
  equal([error instanceof Anthropic.AuthenticationError, error.error.error.type], [true, "authentication_error"]);
}

await run("@anthropic-ai/sdk", {
  message,
  stream,
  thinking,
  parse,
  toolRunner: () => toolRunner(false),
  "toolRunner stream": () => toolRunner(true),
  countTokens,
  "wrong key": wrongKey,
});
