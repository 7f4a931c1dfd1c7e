// The AI SDK over OpenAI's provider, whose default is Responses, its chat, the compatible servers', and Anthropic's.
import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { Output, generateObject, generateText, isStepCount, streamText, tool } from "ai";
import { z } from "zod";

import {
  ADA, API_KEY, BASE_URL, CALCULATOR, MODEL, PERSON, SAID, SAY, SUM, SUM_SAID, THREE_TURNS, THREE_TURNS_SAID, equal,
  getWeather, joined, run,
} from "./checks.mjs";

const server = { name: "autotool", baseURL: BASE_URL, apiKey: API_KEY };
const compatible = createOpenAICompatible({ ...server, includeUsage: true, supportsStructuredOutputs: true });
const models = {
  responses: createOpenAI(server)(MODEL),
  chat: createOpenAI(server).chat(MODEL),
  compatible: compatible(MODEL),
  messages: createAnthropic(server)(MODEL),
};
const schema = z.object({ name: z.string(), age: z.number() });
const tools = {
  get_weather: tool({
    description: "Get the weather of a city.",
    inputSchema: z.object({ city: z.string() }),
    execute: getWeather,
  }),
};
const common = { maxRetries: 0, onError: ({ error }) => console.error(error) };

async function text(model) {
  const { text, usage } = await generateText({ ...common, model, prompt: SAY });
  equal(text, SAID);
  equal(usage.outputTokens > 0, true);
}

async function stream(model) {
  const result = streamText({ ...common, model, prompt: SAY });
  equal(await joined(result.textStream), SAID);
  equal((await result.usage).outputTokens > 0, true);
}

async function loop(model, _, providerOptions = {}) {
  const options = { ...common, model, tools, providerOptions };
  const { text, steps } = await generateText({ ...options, prompt: THREE_TURNS, stopWhen: isStepCount(6) });
  equal([text, steps.length], [THREE_TURNS_SAID, 4]);
}

async function loopStream(model) {
  const result = streamText({ ...common, model, tools, prompt: THREE_TURNS, stopWhen: isStepCount(6) });
  await result.consumeStream();
  equal([await result.text, (await result.steps).length], [THREE_TURNS_SAID, 4]);
}

// Anthropic's provider asks a model that it does not know to call a tool `json`.
function person(provider) {
  return provider === "messages" ? PERSON.replace("<<say", "<<call json") : PERSON;
}

async function output(model, provider) {
  const result = await generateText({ ...common, model, prompt: person(provider), output: Output.object({ schema }) });
  equal(result.output, ADA);
}

async function object(model, provider) {
  equal((await generateObject({ ...common, model, prompt: person(provider), schema })).object, ADA);
}

async function reasoning(model) {
  const prompt = "<<think I know it.>>+<<say Paris.>>";
  const providerOptions = { openai: { reasoningSummary: "detailed", forceReasoning: true } };
  const { text, reasoningText } = await generateText({ ...common, model, prompt, providerOptions });
  equal([reasoningText, text], ["I know it.", "Paris."]);
}

// The AI SDK has no such tool: it is put into the body of the request.
async function serverTool(stream) {
  const withTool = (url, init) => {
    const body = { ...JSON.parse(init.body), tools: [CALCULATOR] };
    return fetch(url, { ...init, body: JSON.stringify(body) });
  };
  const options = { ...common, model: createOpenAI({ ...server, fetch: withTool })(MODEL), prompt: SUM };
  const result = stream ? streamText(options) : await generateText(options);
  equal(await result.text, SUM_SAID);
  const kinds = (await result.content).map((part) => part.type);
  equal(kinds, ["reasoning", "tool-call", "tool-result", "text"]);
}

const checks = {
  generateText: text,
  streamText: stream,
  tools: loop,
  "tools stream": loopStream,
  "output object": output,
  generateObject: object,
  reasoning,
};
const all = {};
for (const [provider, model] of Object.entries(models))
  for (const [title, check] of Object.entries(checks)) all[`${provider} ${title}`] = () => check(model, provider);
all["responses tools, not stored"] = () => loop(models.responses, "responses", { openai: { store: false } });
all["responses server tool"] = () => serverTool(false);
all["responses server tool stream"] = () => serverTool(true);
delete all["chat reasoning"]; // OpenAI's own chat has no field for it
await run("ai", all);
