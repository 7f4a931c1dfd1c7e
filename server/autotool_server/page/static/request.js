// From the controls to the body of a request.

// Limits of the think block that the slider offers, in tokens; null leaves it to the server.
export const BUDGETS = [null, 0, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192];

export function body(state, mode, messages) {
  return {
    model: state.model.id,
    mode,
    messages,
    stream: true,
    stream_options: { include_usage: true, continuous_usage_stats: true, include_decision: true },
    max_completion_tokens: state.maxTokens,
    ...tools(state),
    ...(mode === "auto" && steering(state)),
    ...(mode !== "short" && BUDGETS[state.budget] !== null && { max_reasoning_tokens: BUDGETS[state.budget] }),
  };
}

function tools(state) {
  const given = [...[...state.chosenTools].map((name) => ({ type: "server", name })), ...functions(state.functions)];
  return given.length ? { tools: given } : {};
}

// Return the functions that were typed. Throws SyntaxError for text that is no JSON.
export function functions(text) {
  if (!text.trim()) return [];
  const parsed = JSON.parse(text);
  return Array.isArray(parsed) ? parsed : [parsed];
}

// What makes auto think more or less often. With neither, the server's own target holds.
export function steering(state) {
  if (state.steer === "bias") return state.bias ? { reasoning_bias: state.bias } : {};
  const values = { "thinking-rate": state.rate, tokens: state.tokens, regret: state.regret };
  return { target: `${state.steer}=${values[state.steer]}` };
}

// The price of what a run has used, by the prices of a million tokens; null where none is given.
export function cost(usage, prices) {
  if (!usage || (prices.prompt === "" && prices.completion === "")) return null;
  return (usage.prompt_tokens * Number(prices.prompt) + usage.completion_tokens * Number(prices.completion)) / 1e6;
}
