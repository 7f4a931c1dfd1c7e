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

    Raises AutoToolError if the folder holds no finished checkpoint, if the repository is to be private and already is a public
    one, or if the hub refuses it or cannot be reached.
    """
    if not is_finished(folder):
        raise AutoToolError(f"{folder} holds no finished checkpoint: name the folder that a stage of `autotool train` wrote.")
    hub = HfApi()
    try:
        # A name without a namespace gets that of the user, and without `private` the namespace's default holds.
        created = hub.create_repo(repo, private=private or None, exist_ok=True).repo_id
        if private and not hub.repo_info(created).private:
            raise AutoToolError(f"{created} is there already and public: make it private on the hub, or leave --private out.")
        hub.upload_folder(repo_id=created, folder_path=folder, ignore_patterns=[*OF_THE_RUN])
    except HFValidationError as error:
        raise AutoToolError(f"The hub has no repository of the name {repo!r}: {error}") from error
    except HfHubHTTPError as error:
        raise AutoToolError(f"The hub refused {repo}: {_reason(error)}") from error
    except (OSError, HTTPError) as error:
        raise AutoToolError(f"The upload to {repo} failed: {type(error).__name__}: {error}. Is the hub reachable?") from error
    return f"{hub.endpoint}/{created}"


def _reason(error: HfHubHTTPError) -> str:
    """Return what the hub said, and what to do if it did not take the token."""
    said = (error.server_message or f"status {error.response.status_code}").rstrip(".")
    if error.response.status_code in (401, 403):
        return f"{said}. Log in by `hf auth login`, or set HF_TOKEN, with a token that may write there."
    return f"{said}."
