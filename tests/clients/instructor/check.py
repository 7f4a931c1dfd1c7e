"""Instructor: structured output in its modes."""

import instructor
from checks import API_KEY, BASE_URL, MODEL, equal, run
from openai import OpenAI
from pydantic import BaseModel, field_validator

ADA = '{"name": "Ada", "age": 36}'


class Person(BaseModel):
    name: str
    age: int


class Adult(Person):
    @field_validator("age")
    @classmethod
    def _is_adult(cls, age: int) -> int:
        if age < 18:
            raise ValueError("must be 18 or older")
        return age


def extract(mode: instructor.Mode, prompt: str, kind: type[Person] = Person, **options: object) -> None:
    client = instructor.from_openai(OpenAI(base_url=BASE_URL, api_key=API_KEY, max_retries=0), mode=mode)
    messages = [{"role": "user", "content": prompt}]
    person = client.create(model=MODEL, messages=messages, response_model=kind, **options)
    equal((person.name, person.age), ("Ada", 36))


def tools() -> None:
    extract(instructor.Mode.TOOLS, f"Ada <<call Person {ADA}>>")


def json() -> None:
    extract(instructor.Mode.JSON, f"Ada <<say {ADA}>>")


def json_schema() -> None:
    extract(instructor.Mode.JSON_SCHEMA, f"Ada <<say {ADA}>>")


def retry_after_a_validation_error() -> None:
    prompt = f'Ada <<call Adult {{"name": "Ada", "age": 6}}>> <<call Adult {ADA}>>'
    extract(instructor.Mode.TOOLS, prompt, Adult, max_retries=2)


def partial_stream() -> None:
    client = instructor.from_openai(OpenAI(base_url=BASE_URL, api_key=API_KEY, max_retries=0), mode=instructor.Mode.TOOLS)
    messages = [{"role": "user", "content": f"Ada <<call PartialPerson {ADA}>>"}]
    partials = list(client.create_partial(model=MODEL, messages=messages, response_model=Person))
    equal((partials[-1].name, partials[-1].age), ("Ada", 36))


run("instructor", tools, json, json_schema, retry_after_a_validation_error, partial_stream)
