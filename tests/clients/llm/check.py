"""The program `llm`, with the server as a model of extra-openai-models.yaml."""

import json
import os
import subprocess
from pathlib import Path

from checks import API_KEY, BASE_URL, MODEL, PERSON, SAID, SAY, WEATHER, WEATHER_SAID, equal, run

FOLDER = Path("llm").absolute()
FOLDER.mkdir()
(FOLDER / "extra-openai-models.yaml").write_text(
    f"- model_id: tested\n  model_name: {MODEL}\n  api_base: {BASE_URL}\n  api_key_name: tested\n"
    "  supports_tools: true\n  supports_schema: true\n"
)
(FOLDER / "keys.json").write_text(json.dumps({"tested": API_KEY}))
FUNCTION = 'def get_weather(city: str) -> str:\n    "Get the weather."\n    return "18 degrees"\n'


def llm(*arguments: str) -> str:
    environment = {**os.environ, "LLM_USER_PATH": str(FOLDER)}
    done = subprocess.run(["llm", *arguments], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise AssertionError(done.stderr)
    return done.stdout.strip()


def chat_stream() -> None:
    equal(llm("-m", "tested", SAY), SAID)


def chat() -> None:
    equal(llm("-m", "tested", "--no-stream", SAY), SAID)


def conversation() -> None:
    equal(llm("-m", "tested", "-c", "<<say Again.>>"), "Again.")


def tools() -> None:
    equal(llm("-m", "tested", "--functions", FUNCTION, WEATHER), WEATHER_SAID)


def schema() -> None:
    equal(json.loads(llm("-m", "tested", "--schema", "name, age int", PERSON)), {"name": "Ada", "age": 36})


run("llm", chat_stream, chat, conversation, tools, schema)
