"""vLLM's worker for CPUs, mended: a seeded request whose prompt takes more than one step ended the whole engine.

vLLM samples a token for such a request in each of these steps, drops it, and takes its generator back by an offset, which
the generators of a CPU do not have (vLLM 0.32). Imported by vLLM in the process of the worker.
"""

from typing import Any

import numpy as np

# In this order: the first of the two patches what the other binds.
from vllm.v1.worker.cpu_worker import CPUWorker  # isort: skip
from vllm.v1.worker.cpu_model_runner import CPUModelRunner  # isort: skip


class Runner(CPUModelRunner):
    """Keeps the state of a generator itself while a token is sampled only to be dropped."""

    def _sample(self, *args: Any, **options: Any) -> Any:
        dropped = np.nonzero(self.discard_request_mask.np[: self.input_batch.num_reqs])[0]
        found = [generator for at in dropped if (generator := self.input_batch.generators.get(int(at)))]
        states = [generator.get_state() for generator in found]
        output = super()._sample(*args, **options)
        for generator, state in zip(found, states, strict=True):
            generator.set_state(state)
        return output

    def _bookkeeping_sync(self, *args: Any, **options: Any) -> Any:
        generators = self.input_batch.generators
        self.input_batch.generators = {}  # read there to take them back, and for nothing else
        try:
            return super()._bookkeeping_sync(*args, **options)
        finally:
            self.input_batch.generators = generators


class Worker(CPUWorker):
    """Runs the model by `Runner`."""

    def init_device(self) -> None:
        super().init_device()
        if type(self.model_runner) is CPUModelRunner:
            self.model_runner.__class__ = Runner
