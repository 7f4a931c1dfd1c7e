// What the page knows, in one object. A change draws the page again, at most once a frame.
import { EXAMPLES, taken } from "./examples.js";
import { BUDGETS } from "./request.js";

export const MODES = ["auto", "long", "short"];

export const state = {
  link: "connecting", // "up", "loading" (the model), "lost", "key" (the server asks for one)
  problem: "",
  model: null,
  version: "",
  tools: [],
  ...taken(EXAMPLES[0], []), // question, functions and chosenTools
  refusal: null, // why the question could not be asked when the user last tried
  functionsOpen: false,
  steer: null, // "bias", "server" (its own target) or the kind of a target; null until the user chooses
  bias: 0,
  rate: 0.3,
  tokens: 100,
  regret: 0.02,
  budget: BUDGETS.length - 1, // an index of them
  maxTokens: 512,
  prices: readPrices(),
  keyOpen: false,
  runs: Object.fromEntries(MODES.map((mode) => [mode, null])),
  live: null,
  savings: null,
  said: "", // to screen readers
};

let draw = () => {};
let isScheduled = false;

export function onChange(callback) {
  draw = callback;
}

export function update(changes) {
  Object.assign(state, changes);
  touch();
}

// Draw again after a change inside of a value.
export function touch() {
  if (isScheduled) return;
  isScheduled = true;
  requestAnimationFrame(() => {
    isScheduled = false;
    draw();
  });
}

export function setPrice(kind, text) {
  state.prices = { ...state.prices, [kind]: text };
  sessionStorage.setItem("prices", JSON.stringify(state.prices));
  touch();
}

function readPrices() {
  const none = { prompt: "", completion: "" };
  try {
    return { ...none, ...JSON.parse(sessionStorage.getItem("prices")) };
  } catch {
    return none;
  }
}
