"""What is written where: a line for each request to standard output, messages of this server and libraries to standard error.

Libraries log and warn about much that their users can do nothing about, so by default only their errors are shown.
"""

import logging
import os
import sys
import warnings

from autotool_server.settings import Settings

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
REQUESTS = "autotool_server.api.access_log"
"""Name of the logger of requests, whose module would bring the web framework with it."""
PACKAGES = ("autotool_server", "autotool_core")
LIBRARY_LEVELS = ("TRANSFORMERS_VERBOSITY", "HF_HUB_VERBOSITY")
"""Variables that set the level of libraries: https://huggingface.co/docs/transformers/main_classes/logging and
https://huggingface.co/docs/huggingface_hub/package_reference/environment_variables."""


def configure(settings: Settings) -> None:
    """Set up logging for the process. Called before the libraries are imported, which read their levels then."""
    level = settings.log_level or "error"
    logging.basicConfig(level=level.upper(), format=FORMAT)
    for package in PACKAGES:
        logging.getLogger(package).setLevel((settings.log_level or "warning").upper())
    for variable in LIBRARY_LEVELS:
        os.environ.setdefault(variable, level)
    # https://docs.vllm.ai/en/latest/configuration/env_vars.html
    os.environ.setdefault("VLLM_LOGGING_LEVEL", level.upper())
    # Standard output is for requests; vLLM would log there too.
    os.environ.setdefault("VLLM_LOGGING_STREAM", "ext://sys.stderr")
    # https://docs.pytorch.org/docs/stable/torch_environment_variables.html; it has no debug level.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "INFO" if level == "debug" else level.upper())
    if not sys.stderr.isatty():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    if level == "error" and not sys.warnoptions:
        warnings.simplefilter("ignore")
        os.environ.setdefault("PYTHONWARNINGS", "ignore")  # for the engine's processes
    _write_requests()


def _write_requests() -> None:
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger(REQUESTS)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
