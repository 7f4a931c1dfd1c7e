"""The order of RL's records: another one in each epoch, and in a resumed run the same as in an uninterrupted one."""

from collections.abc import Callable, Generator
from typing import Any

import torch
from trl.trainer.utils import RepeatSampler


class EpochSampler(RepeatSampler):
    """TRL's sampler, in its order, which can start at any epoch. Attributes are those of TRL 1.16.

    TRL draws a permutation for each epoch from a generator that no checkpoint holds, so that a resumed run would start with
    the first epoch's again.
    """

    def __init__(self, *args: Any, epochs: Callable[[], int], **kwargs: Any) -> None:
        """`epochs` returns the number of epochs that the run has completed; it is called at the start of each."""
        super().__init__(*args, **kwargs)
        self._epochs = epochs

    def __iter__(self) -> Generator[int, Any, None]:
        if self.shuffle:
            self.generator.manual_seed(self.generator.initial_seed())
            for _ in range(self._epochs()):
                torch.randperm(self.num_samples, generator=self.generator)
        yield from super().__iter__()
