"""Settings of refinement: the section `refine` of a recipe."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class RefineSettings(BaseModel):
    """How records are probed and chosen. The rewards and the length of a response are those of `rl`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    group: int = Field(default=8, ge=1)
    """Rollouts of a record in each round."""
    batch: int = Field(default=64, ge=1)
    """Rollouts that are decoded at once, rounded down to whole groups."""
    rounds: int = Field(default=3, ge=0)
    """Rounds along a short run of plain GRPO on all records, by the settings of `rl` (transformers always decodes), from the
    last checkpoint that is named, which is a round too: rewards then follow how RL changes the model. 0: the named checkpoints
    are the rounds, as those of SFT, the only way before."""
    urls: list[str] = []
    """vLLM servers that decode in place of transformers, one for each named checkpoint in their order, which it has to serve;
    with `rounds = 0`."""
    round_steps: int = Field(default=10, ge=1)
    """GRPO steps between two rounds."""
    rate: Literal["reward", "accuracy"] = "reward"
    """The rate of a record in a round: its mean reward, scaled to [0, 1], so that a record is too easy only if it is always
    right *and* short; or the share of right rollouts in either mode."""
    min_alignment: Annotated[float, Field(le=1)] | Literal["median"] = "median"
    """A record is kept if its alignment with the mean of all is at least this (see `refine.select`); 1 keeps the fewest. With
    `median`, that of these records, half of them is kept. It was 0.6, which the noise of few rollouts decides."""

    @model_validator(mode="after")
    def _servers_have_their_rounds(self) -> Self:
        if self.urls and self.rounds:
            raise ValueError(
                "urls needs rounds=0: a server has the weights of a named checkpoint, and not those of GRPO's steps"
            )
        return self
