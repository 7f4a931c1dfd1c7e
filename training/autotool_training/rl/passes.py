"""In what order RL sees its records: anew in each pass over them, and in a resumed run as in one that nothing stopped."""

from collections.abc import Callable, Generator
from typing import Any

import torch
from trl.trainer.utils import RepeatSampler


class PassSampler(RepeatSampler):
    """TRL's sampler, in its order, whose passes can be begun at any of them.

    TRL draws a permutation a pass from a generator that no checkpoint holds: a resumed run would begin with the first
    pass's again.
    """

    def __init__(self, *args: Any, passes: Callable[[], int], **kwargs: Any) -> None:
        """`passes`: how many passes the run has made, asked at the start of each."""
        super().__init__(*args, **kwargs)
        self._passes = passes

    def __iter__(self) -> Generator[int, Any, None]:
        if self.shuffle:
            self.generator.manual_seed(self.generator.initial_seed())
            for _ in range(self._passes()):
                torch.randperm(self.num_samples, generator=self.generator)
        yield from super().__iter__()
