// OpenAI's Agents SDK, with its default model class, which speaks Responses, and with the one for chat completions.
import { Agent, OpenAIProvider, Runner, tool } from "@openai/agents";
import { z } from "zod";

import {
  ADA, API_KEY, BASE_URL, MODEL, PERSON, SAID, SAY, THREE_TURNS, THREE_TURNS_SAID, WEATHER, WEATHER_SAID, equal,
  getWeather, joined, run,
} from "./checks.mjs";

const weather = tool({
  name: "get_weather",
  description: "Get the weather of a city.",
  parameters: z.object({ city: z.string() }),
  execute: getWeather,
});
const outputType = z.object({ name: z.string(), age: z.number() });

function runner(useResponses) {
  const modelProvider = new OpenAIProvider({ baseURL: BASE_URL, apiKey: API_KEY, useResponses });
  return new Runner({ modelProvider, model: MODEL, tracingDisabled: true });
}

function agent(options = {}) {
  return new Agent({ name: "Guide", instructions: "You help with cities.", ...options });
}

async function answer(runner) {
  equal((await runner.run(agent(), SAY)).finalOutput, SAID);
}

async function stream(runner) {
  const result = await runner.run(agent(), SAY, { stream: true });
  equal(await joined(result.toTextStream()), SAID);
  await result.completed;
  equal(result.finalOutput, SAID);
}

async function tools(runner, stream) {
  const result = await runner.run(agent({ tools: [weather] }), THREE_TURNS, { stream });
  if (stream) await result.completed;
  equal(result.finalOutput, THREE_TURNS_SAID);
}

async function output(runner) {
  equal((await runner.run(agent({ outputType }), PERSON)).finalOutput, ADA);
}

async function handoff(runner) {
  const clerk = agent({ name: "Clerk", handoffDescription: "Knows prices." });
  const result = await runner.run(agent({ handoffs: [clerk] }), "<<call transfer_to_Clerk {}>> <<say It is free.>>");
  equal([result.lastAgent.name, result.finalOutput], ["Clerk", "It is free."]);
}

async function secondTurn(runner) {
  const first = await runner.run(agent({ tools: [weather] }), THREE_TURNS);
  const history = [...first.history, { role: "user", content: SAY }];
  equal((await runner.run(agent({ tools: [weather] }), history)).finalOutput, SAID);
}

async function stored(runner) {
  const first = await runner.run(agent(), SAY);
  const options = { previousResponseId: first.lastResponseId };
  equal((await runner.run(agent({ tools: [weather] }), WEATHER, options)).finalOutput, WEATHER_SAID);
}

const checks = { answer, stream, output, handoff, "second turn": secondTurn };
checks.tools = (runner) => tools(runner, false);
checks["tools stream"] = (runner) => tools(runner, true);
const all = {};
for (const [protocol, each] of Object.entries({ responses: runner(true), chat: runner(false) }))
  for (const [title, check] of Object.entries(checks)) all[`${protocol} ${title}`] = () => check(each);
all["responses stored"] = () => stored(runner(true));
await run("@openai/agents", all);
