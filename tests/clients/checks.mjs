// What the scripts of Node clients share: `await run("package", { name: check, ... })` at their end. See checks.py too.
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { inspect, isDeepStrictEqual, promisify } from "node:util";

export const { BASE_URL, MODEL, API_KEY } = process.env; // BASE_URL ends with /v1
export const ROOT_URL = BASE_URL.replace(/\/v1$/, "");

export const SAY = "<<say The capital of France is Paris.>>";
export const SAID = "The capital of France is Paris.";
export const WEATHER = 'Weather in Paris? <<call get_weather {"city": "Paris"}>> <<say It is RESULT in Paris.>>';
export const WEATHER_SAID = "It is 18 degrees in Paris.";
export const THREE_TURNS =
  'Compare. <<think First Paris.>>+<<call get_weather {"city": "Paris"}>> <<call get_weather {"city": "Rome"}>> ' +
  '<<call get_weather {"city": "Oslo"}>> <<say Oslo has RESULT.>>';
export const THREE_TURNS_SAID = "Oslo has 3 degrees.";
export const SUM = 'Add. <<think I add.>>+<<call calculator {"expression": "1 + 2"}>> <<say It is RESULT.>>';
export const SUM_SAID = "It is 3.";
export const CALCULATOR = { type: "server", name: "calculator" }; // a tool that the server runs
export const PERSON = 'Ada, 36 years old <<say {"name": "Ada", "age": 36}>>';
export const ADA = { name: "Ada", age: 36 };
const DEGREES = { Paris: "18 degrees", Rome: "24 degrees", Oslo: "3 degrees" };

// The weather of a city, as a tool of the clients gives it.
export function getWeather({ city }) {
  return DEGREES[city];
}

// Throw an error that shows both values if they differ.
export function equal(found, expected) {
  if (!isDeepStrictEqual(found, expected)) throw new Error(`${inspect(found)} instead of ${inspect(expected)}`);
}

// Return what an async iterable of strings yields, joined.
export async function joined(parts) {
  let text = "";
  for await (const part of parts) text += part ?? "";
  return text;
}

// Run a program of the client and return its standard output; throws what it wrote if it fails or takes two minutes.
export async function program(command, args, environment = {}, input = "") {
  const options = { env: { ...process.env, ...environment }, timeout: 120_000, maxBuffer: 2 ** 26 };
  const running = promisify(execFile)(command, args, options);
  running.child.stdin.end(input);
  try {
    return (await running).stdout;
  } catch (error) {
    const written = `${error.stderr}\n${error.stdout}`.trim();
    console.error(written);
    throw new Error(`${command} ended with ${error.code ?? error.signal}: ${written.slice(-300)}`);
  }
}

// Run the checks, async functions under the names that the table shall give them, and report them in one line of JSON.
export async function run(name, checks, version = installed(name)) {
  process.on("unhandledRejection", console.error); // a failed check leaves promises that nobody awaits
  const outcomes = {};
  for (const [title, check] of Object.entries(checks)) outcomes[title] = await outcome(check);
  console.log(`\n${JSON.stringify({ version, checks: outcomes })}`);
  process.exit(Object.values(outcomes).every((each) => each === true) ? 0 : 1); // timers of clients may stay
}

async function outcome(check) {
  try {
    await check();
    return true;
  } catch (error) {
    console.error(error);
    return `${error.name}: ${error.message}`.split(/\s+/).join(" ").slice(0, 400);
  }
}

function installed(name) {
  return JSON.parse(readFileSync(`${import.meta.dirname}/node_modules/${name}/package.json`)).version;
}
