"""What all parts of the body of `/v1/chat/completions` share."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, model_validator
from pydantic_core import PydanticCustomError

from autotool_server.errors import UNSUPPORTED

MAX_INT32 = 2**31 - 1
"""Largest count: engines hold counts in 32 bits."""


class Body(BaseModel):
    """A part of the body. Unknown fields and values of another type are refused, nulls are dropped."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, data: Any) -> Any:
        return {key: value for key, value in data.items() if value is not None} if isinstance(data, dict) else data


class History(Body):
    """A part of the history. What other servers and clients have added to it is left out."""

    model_config = ConfigDict(extra="ignore")


def _refuse(value: object) -> None:
    if value != []:
        raise PydanticCustomError(UNSUPPORTED, "This field is not supported")


Unsupported = Annotated[None, BeforeValidator(_refuse)]
"""A field that would change the answer and that this server does not have: null and an empty list are taken."""
