"""DSPy: predictions with its chat and JSON adapters, ReAct, and a stream."""

import dspy
from checks import API_KEY, BASE_URL, MODEL, THREE_TURNS, equal, get_weather, run  # noqa: F401

PARIS = "What is the capital of France? <<say [[ ## answer ## ]]\nParis\n\n[[ ## completed ## ]]>>"


def model(**options: object) -> dspy.LM:
    return dspy.LM(f"openai/{MODEL}", api_base=BASE_URL, api_key=API_KEY, cache=False, num_retries=0, **options)


def chat_adapter() -> None:
    with dspy.context(lm=model()):
        equal(dspy.Predict("question -> answer")(question=PARIS).answer, "Paris")


def json_adapter() -> None:
    with dspy.context(lm=model(), adapter=dspy.JSONAdapter()):
        prediction = dspy.Predict("question -> answer: str, degrees: int")
        answer = prediction(question='<<say {"answer": "Paris", "degrees": 18}>>')
    equal((answer.answer, answer.degrees), ("Paris", 18))


def responses() -> None:
    with dspy.context(lm=model(model_type="responses")):
        equal(dspy.Predict("question -> answer")(question=PARIS).answer, "Paris")


run("dspy", chat_adapter, json_adapter, responses)
