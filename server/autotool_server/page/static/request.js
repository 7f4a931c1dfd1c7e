// From the controls to the body of a request.

// Limits of the think block that the slider offers, in tokens; null leaves it to the server, which mostly has none.
export const BUDGETS = [0, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, null];

export function body(state, { mode, messages, asked }) {
  return {
    model: state.model.id,
    mode,
    messages,
    stream: true,
    stream_options: { include_usage: true, continuous_usage_stats: true, include_decision: true },
    max_completion_tokens: state.maxTokens,
    ...tools(asked),
    ...(mode === "auto" && steering(state)),
    ...(mode !== "short" && BUDGETS[state.budget] !== null && { max_reasoning_tokens: BUDGETS[state.budget] }),
  };
}

function tools(asked) {
  const given = [...asked.chosenTools.map((name) => ({ type: "server", name })), ...functions(asked.functions)];
  return given.length ? { tools: given } : {};
}

// Return the functions that were typed. Throws SyntaxError for text that is no JSON.
export function functions(text) {
  if (!text.trim()) return [];
  const parsed = JSON.parse(text);
  return Array.isArray(parsed) ? parsed : [parsed];
}

// The target that the operator has set, and the bias by which the server holds it now; null without one.
export function ownTarget(state) {
  const found = state.live?.samples.get("autotool_target_bias")?.find(({ labels }) => labels.scope === "server");
  return found ? { target: found.labels.target, bias: found.value } : null;
}

// What auto is steered by: what the user has chosen, else the server's own target where it has one, else a bias.
export const steer = (state) => state.steer ?? (ownTarget(state) ? "server" : "bias");

// The bias on the dial's scale: that of the slider, or that which the server took for the last decision.
export function currentBias(state) {
  if (steer(state) === "bias") return state.bias;
  return state.runs.auto?.decisions.at(-1)?.reasoning_bias ?? ownTarget(state)?.bias ?? 0;
}

// What the server added to the bias that a run asked for, such as its profile's bias; null where that is not known.
export function addedBias(run) {
  const last = run?.decisions.at(-1);
  if (!last) return null;
  // A request without a bias may have the target of its key, which only the record tells.
  const sent = run.sentBias ?? (run.record && !run.record.turns.at(-1).target ? 0 : null);
  return sent === null ? null : last.reasoning_bias - sent;
}

// The bias with which the last decision would be made now, where the slider has been moved; null where it would be as it was.
export function movedBias(state, run) {
  const added = addedBias(run);
  if (added === null || steer(state) !== "bias") return null;
  const bias = added + state.bias;
  return Math.abs(bias - run.decisions.at(-1).reasoning_bias) < 1e-9 ? null : bias;
}

export function steering(state) {
  const kind = steer(state);
  if (kind === "server") return {};
  // Until the user has chosen, the target of the key or of the model's name holds, if there is one.
  if (kind === "bias") return state.steer === null && state.bias === 0 ? {} : { reasoning_bias: state.bias };
  const values = { "thinking-rate": state.rate, tokens: state.tokens, regret: state.regret };
  return { target: `${kind}=${values[kind]}` };
}

// The price of what a run has used, by the prices of a million tokens; null where none is given.
export function cost(usage, prices) {
  if (!usage || (prices.prompt === "" && prices.completion === "")) return null;
  return (usage.prompt_tokens * Number(prices.prompt) + usage.completion_tokens * Number(prices.completion)) / 1e6;
}
