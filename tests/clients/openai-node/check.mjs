// OpenAI's own client: chat completions and Responses.
import OpenAI from "openai";
import { zodFunction, zodResponseFormat, zodResponsesFunction, zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";

import {
  ADA, API_KEY, BASE_URL, CALCULATOR, MODEL, PERSON, SAID, SAY, SUM, SUM_SAID, THREE_TURNS, THREE_TURNS_SAID, WEATHER,
  WEATHER_SAID, equal, getWeather, run,
} from "./checks.mjs";

const client = new OpenAI({ baseURL: BASE_URL, apiKey: API_KEY, maxRetries: 0 });
const Person = z.object({ name: z.string(), age: z.number().int() });
const City = z.object({ city: z.string() });
const tools = [zodResponsesFunction({ name: "get_weather", parameters: City })];
const asked = (content) => [{ role: "user", content }];

async function chat() {
  const answer = await client.chat.completions.create({ model: MODEL, messages: asked(SAY) });
  equal(answer.choices[0].message.content, SAID);
  equal(answer.choices[0].finish_reason, "stop");
}

async function chatStream() {
  const stream = client.chat.completions.stream({
    model: MODEL,
    messages: asked(SAY),
    stream_options: { include_usage: true },
  });
  let text = "";
  stream.on("content", (delta) => (text += delta));
  equal(await stream.finalContent(), SAID);
  equal(text, SAID);
  equal((await stream.totalUsage()).completion_tokens > 0, true);
}

async function chatParse() {
  const format = zodResponseFormat(Person, "person");
  const body = { model: MODEL, messages: asked(PERSON), response_format: format };
  const answer = await client.chat.completions.parse(body);
  equal(answer.choices[0].message.parsed, ADA);
}

async function chatRunTools(stream, prompt, said) {
  const tool = zodFunction({ name: "get_weather", parameters: City, function: getWeather });
  const runner = client.chat.completions.runTools({ model: MODEL, messages: asked(prompt), tools: [tool], stream });
  equal(await runner.finalContent(), said);
}

async function responses() {
  equal((await client.responses.create({ model: MODEL, input: SAY })).output_text, SAID);
}

async function responsesStream() {
  const stream = client.responses.stream({ model: MODEL, input: SAY });
  let text = "";
  stream.on("response.output_text.delta", (event) => (text += event.delta));
  equal((await stream.finalResponse()).output_text, SAID);
  equal(text, SAID);
}

async function responsesParse() {
  const text = { format: zodTextFormat(Person, "person") };
  equal((await client.responses.parse({ model: MODEL, input: PERSON, text })).output_parsed, ADA);
}

async function responsesTools() {
  const input = asked(THREE_TURNS);
  const include = ["reasoning.encrypted_content"];
  let answer;
  do {
    answer = await client.responses.parse({ model: MODEL, input, tools, include, store: false });
    input.push(...answer.output);
    for (const call of answer.output.filter((item) => item.type === "function_call"))
      input.push({ type: "function_call_output", call_id: call.call_id, output: getWeather(call.parsed_arguments) });
  } while (input.at(-1).type === "function_call_output");
  equal(answer.output_text, THREE_TURNS_SAID);
}

async function responsesServerTool() {
  const first = await client.responses.stream({ model: MODEL, input: SUM, tools: [CALCULATOR] }).finalResponse();
  equal([first.output.map((item) => item.type), first.output_text], [["reasoning", "mcp_call", "message"], SUM_SAID]);
  const input = [...first.output, ...asked(SAY)];
  equal((await client.responses.create({ model: MODEL, input, tools: [CALCULATOR] })).output_text, SAID);
}

async function responsesStored() {
  const first = await client.responses.create({ model: MODEL, input: WEATHER, tools });
  const input = [{ type: "function_call_output", call_id: first.output[0].call_id, output: "18 degrees" }];
  const second = await client.responses.create({ model: MODEL, input, previous_response_id: first.id });
  equal(second.output_text, WEATHER_SAID);
  equal((await client.responses.retrieve(second.id)).output_text, WEATHER_SAID);
  await client.responses.delete(second.id);
  equal((await client.responses.retrieve(second.id).catch((error) => error)).status, 404);
}

await run("openai", {
  chat,
  "chat stream": chatStream,
  "chat parse": chatParse,
  "chat runTools": () => chatRunTools(false, THREE_TURNS, THREE_TURNS_SAID),
  "chat runTools stream": () => chatRunTools(true, WEATHER, WEATHER_SAID),
  responses,
  "responses stream": responsesStream,
  "responses parse": responsesParse,
  "responses tools": responsesTools,
  "responses server tool": responsesServerTool,
  "responses stored": responsesStored,
});
