"""Uploading a checkpoint to the Hugging Face hub, by its own client."""

from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError

from autotool_core.errors import AutoToolError
from autotool_training.common.checkpoint import is_finished

OF_THE_RUN = ("steps/*", "tensorboard/*", "best/*", "adapter/*", "metrics.jsonl", "run.json", "targets.json")
"""What is in the folder of a run and not part of its checkpoint."""


def push_checkpoint(folder: Path, repo: str, *, private: bool) -> str:
    """Upload the checkpoint in a folder and return its address.

    Raises AutoToolError if the folder holds no finished checkpoint, or if the hub refuses it.
    """
    if not is_finished(folder):
        raise AutoToolError(f"{folder} holds no finished checkpoint: name the folder that a stage of `autotool train` wrote.")
    hub = HfApi()
    try:
        hub.create_repo(repo, private=private, exist_ok=True)
        hub.upload_folder(repo_id=repo, folder_path=folder, ignore_patterns=[*OF_THE_RUN])
    except (HfHubHTTPError, HFValidationError) as error:
        raise AutoToolError(f"The hub refused {repo}: {str(error).splitlines()[0]} Log in by `hf auth login`.") from error
    return f"{hub.endpoint}/{repo}"
