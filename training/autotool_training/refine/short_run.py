"""The short run of plain GRPO along which records are probed."""

from autotool_training.refine.settings import RefineSettings
from autotool_training.rl.run_settings import RlSettings


def short_run(settings: RefineSettings, rl: RlSettings) -> RlSettings:
    """Return the settings of the run: those of `rl`, with plain GRPO and the decoder of the probes.

    One step a batch, so that any number of steps between two rounds is one of whole batches.
    """
    objective = rl.objective
    variant = "length-penalty" if objective.variant == "length-penalty" else "grpo"
    level = {"importance_sampling_level": "token", "epsilon": 0.2, "epsilon_high": 0.28}
    plain = objective.model_copy(update={"variant": variant, "kl_beta": 0.0, **level})
    decoder = {"rollouts": "transformers", "vllm_url": None, "evaluation": None, "report_to": [], "log_completions": 0}
    batches = {"num_iterations": 1, "max_num_gen_batches": 1}
    saved = {"steps": settings.rounds * settings.round_steps, "save_steps": settings.round_steps, "keep": settings.rounds}
    return rl.model_copy(update={"objective": plain, **decoder, **batches, **saved})
