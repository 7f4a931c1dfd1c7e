// Questions to begin with. `server`: beginnings of the names of server tools that they can use, where the server has them.

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

export const EXAMPLES = [
  { name: "an easy call", question: "What is the weather in Paris?", tools: { functions: FUNCTIONS } },
  {
    name: "a hard call",
    question:
      "A list of rooms: Anna blue, Ben green, Carla red. A table of hours: Anna 2, Ben 3, Carla 5. Please reserve the room that " +
      "the list has for Carla, for as many hours as the table has for Ben and 4 more, on the day 2 days after Friday.",
    tools: { functions: FUNCTIONS },
  },
  { name: "server tools", question: "What is 17 * 23, and what is 144 / 12?", tools: { server: ["calculator"] } },
];
