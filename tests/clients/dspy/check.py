"""DSPy: predictions with its chat and JSON adapters, native tool calls, a stream, and Responses."""

import dspy
from checks import API_KEY, BASE_URL, MODEL, equal, get_weather, run

PARIS = "What is the capital of France? <<say [[ ## answer ## ]]\nParis\n\n[[ ## completed ## ]]>>"


class CallingLM(dspy.LM):
    """DSPy takes a model that is not in its catalogue for one without tools."""

    supports_function_calling = True


def model(kind: type[dspy.LM] = dspy.LM, **options: object) -> dspy.LM:
    return kind(f"openai/{MODEL}", api_base=BASE_URL, api_key=API_KEY, cache=False, num_retries=0, **options)


def chat_adapter() -> None:
    with dspy.context(lm=model()):
        equal(dspy.Predict("question -> answer")(question=PARIS).answer, "Paris")


def json_adapter() -> None:
    with dspy.context(lm=model(), adapter=dspy.JSONAdapter()):
        prediction = dspy.Predict("question -> answer: str, degrees: int")
        answer = prediction(question='<<say {"answer": "Paris", "degrees": 18}>>')
    equal((answer.answer, answer.degrees), ("Paris", 18))


def native_tool_call() -> None:
    adapter = dspy.ChatAdapter(use_native_function_calling=True)
    with dspy.context(lm=model(CallingLM), adapter=adapter):
        predict = dspy.Predict("question, tools: list[dspy.Tool] -> calls: dspy.ToolCalls")
        prompt = '<<call get_weather {"city": "Paris"}>>'
        calls = predict(question=prompt, tools=[dspy.Tool(get_weather)]).calls.tool_calls
    equal([(call.name, call.args) for call in calls], [("get_weather", {"city": "Paris"})])


async def stream() -> None:
    with dspy.context(lm=model()):
        listener = dspy.streaming.StreamListener("answer")
        streamed = dspy.streamify(dspy.Predict("question -> answer"), stream_listeners=[listener])
        parts = [part async for part in streamed(question=PARIS)]
    equal("".join(part.chunk for part in parts[:-1]).strip(), "Paris")
    equal(parts[-1].answer, "Paris")


def responses() -> None:
    with dspy.context(lm=model(model_type="responses")):
        equal(dspy.Predict("question -> answer")(question=PARIS).answer, "Paris")


run("dspy", chat_adapter, json_adapter, native_tool_call, stream, responses)
