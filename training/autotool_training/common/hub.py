"""Uploading a checkpoint to the Hugging Face hub, by its own client."""

from pathlib import Path

from httpx2 import HTTPError
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError

from autotool_core.errors import AutoToolError
from autotool_training.common.checkpoint import is_finished

OF_THE_RUN = ("steps/*", "tensorboard/*", "best/*", "best.part/*", "adapter/*", "metrics.jsonl", "run.json", "targets.json")
"""What is in the folder of a run and not part of its checkpoint."""


def push_checkpoint(folder: Path, repo: str, *, private: bool) -> str:
    """Upload the checkpoint in a folder and return its address.

    Raises AutoToolError if the folder holds no finished checkpoint, or if the hub refuses it or cannot be reached.
    """
    if not is_finished(folder):
        raise AutoToolError(f"{folder} holds no finished checkpoint: name the folder that a stage of `autotool train` wrote.")
    hub = HfApi()
    try:
        # A name without a namespace gets that of the user.
        created = hub.create_repo(repo, private=private, exist_ok=True).repo_id
        hub.upload_folder(repo_id=created, folder_path=folder, ignore_patterns=[*OF_THE_RUN])
    except (HfHubHTTPError, HFValidationError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise AutoToolError(f"The hub refused {repo}: {reason} Log in by `hf auth login`.") from error
    except (OSError, HTTPError) as error:
        raise AutoToolError(
            f"Nothing was uploaded to {repo}: {type(error).__name__}: {error}. Is the hub reachable?"
        ) from error
    return f"{hub.endpoint}/{created}"
