// Questions to begin with. `functions`: those that they come with; `server`: the beginning of the names of the server tools
// that they need.

const TEXT = { type: "string" };
const DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

const tool = (name, description, properties) => ({
  type: "function",
  function: { name, description, parameters: { type: "object", properties, required: Object.keys(properties) } },
});

// Those of `autotool serve --demo`.
const FUNCTIONS = [
  tool("get_weather", "Get the weather in a city.", { city: TEXT }),
  tool("reserve_room", "Reserve a meeting room for a number of minutes.", {
    room: TEXT,
    minutes: { type: "integer" },
    day: { type: "string", enum: DAYS },
  }),
];

// The first one stands in the field from the start: the default model answers it right in every mode.
export const EXAMPLES = [
  { name: "an easy call", question: "What is the weather in Paris?", functions: FUNCTIONS },
  {
    name: "a hard call",
    question:
      "A list of rooms: Anna blue, Ben green, Carla red. A table of hours: Anna 2, Ben 3, Carla 5. Please reserve the room that " +
      "the list has for Carla, for as many hours as the table has for Ben and 4 more, on the day 2 days after Friday.",
    functions: FUNCTIONS,
  },
  { name: "server tools", question: "What is 17 * 23, and what is 144 / 12?", server: "calculator" },
];

// The names of the tools of an example that the server has and runs.
export const toolsOf = (example, tools) =>
  tools.filter(({ name, disabled }) => !disabled && example.server && name.startsWith(example.server)).map(({ name }) => name);

export const isUsable = (example, tools) => !example.server || toolsOf(example, tools).length > 0;

// What the page holds when an example has been taken.
export const taken = (example, tools) => ({
  question: example.question,
  functions: example.functions ? JSON.stringify(example.functions, null, 2) : "",
  chosenTools: new Set(toolsOf(example, tools)),
});
