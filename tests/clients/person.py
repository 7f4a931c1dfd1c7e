"""The form of structured output that the scripts ask for, for clients that come with pydantic."""

from pydantic import BaseModel


class Person(BaseModel):
    """A person."""

    name: str
    age: int


ADA = Person(name="Ada", age=36)
"""What PERSON of `checks` is answered with."""
