"""A patch of vLLM 0.32: its CPU worker, with a fix for seeded requests whose prompt takes more than one step.

Without the patch such a request ends the whole engine. In each step before the last of the prompt, vLLM samples a token,
discards it and resets the request's generator with `Generator.set_offset`, which CPU generators do not support. The patch
saves and restores the generator's state instead. vLLM imports this module in the worker process; `vllm_args.cpu_defaults`
names its `Worker`. It is needed as long as `GPUModelRunner._bookkeeping_sync` resets generators by offset.
"""

from typing import Any

import numpy as np

# The order matters: the first import patches objects that the second imports.
from vllm.v1.worker.cpu_worker import CPUWorker  # isort: skip
from vllm.v1.worker.cpu_model_runner import CPUModelRunner  # isort: skip


class Runner(CPUModelRunner):
    """Restores the state of a request's generator after a step whose sampled token is discarded."""

    def _sample(self, *args: Any, **options: Any) -> Any:
        discarded = np.nonzero(self.discard_request_mask.np[: self.input_batch.num_reqs])[0]
        generators = [generator for row in discarded if (generator := self.input_batch.generators.get(int(row)))]
        states = [generator.get_state() for generator in generators]
        output = super()._sample(*args, **options)
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)
        return output

    def _bookkeeping_sync(self, *args: Any, **options: Any) -> Any:
        generators = self.input_batch.generators
        self.input_batch.generators = {}  # the method reads them only to reset their offsets
        try:
            return super()._bookkeeping_sync(*args, **options)
        finally:
            self.input_batch.generators = generators


class Worker(CPUWorker):
    """A worker that uses `Runner`."""

    def init_device(self) -> None:
        super().init_device()
        if type(self.model_runner) is CPUModelRunner:
            self.model_runner.__class__ = Runner
