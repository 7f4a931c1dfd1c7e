// LangChain's model for OpenAI, over chat completions and Responses, and its agent, which runs on LangGraph.
import { ChatOpenAI } from "@langchain/openai";
import { createAgent, tool } from "langchain";
import { z } from "zod";

import {
  ADA, API_KEY, BASE_URL, MODEL, PERSON, SAID, SAY, THREE_TURNS, THREE_TURNS_SAID, equal, getWeather, run,
} from "./checks.mjs";

const Person = z.object({ name: z.string(), age: z.number() });
const weather = tool(getWeather, {
  name: "get_weather",
  description: "Get the weather of a city.",
  schema: z.object({ city: z.string() }),
});

function model(useResponsesApi) {
  return new ChatOpenAI({
    model: MODEL,
    apiKey: API_KEY,
    configuration: { baseURL: BASE_URL },
    maxRetries: 0,
    useResponsesApi,
  });
}

async function invoke(model) {
  const answer = await model.invoke(SAY);
  equal(answer.text, SAID);
  equal(answer.usage_metadata.output_tokens > 0, true);
}

async function stream(model) {
  let text = "";
  for await (const chunk of await model.stream(SAY)) text += chunk.text;
  equal(text, SAID);
}

async function structured(model) {
  equal(await model.withStructuredOutput(Person, { method: "jsonSchema" }).invoke(PERSON), ADA);
}

async function agent(model) {
  const agent = createAgent({ model, tools: [weather], systemPrompt: "You help with cities." });
  const { messages } = await agent.invoke({ messages: [{ role: "user", content: THREE_TURNS }] });
  equal(messages.at(-1).text, THREE_TURNS_SAID);
  const next = await agent.invoke({ messages: [...messages, { role: "user", content: SAY }] });
  equal(next.messages.at(-1).text, SAID);
}

const all = {};
for (const [protocol, each] of Object.entries({ chat: model(false), responses: model(true) }))
  for (const [title, check] of Object.entries({ invoke, stream, "structured output": structured, agent }))
    all[`${protocol} ${title}`] = () => check(each);
await run("langchain", all);
