"""The variables `AUTOTOOL_*` of the environment: settings, those of other parts of the project, and those of Kubernetes."""

import difflib
import logging
import re
from collections.abc import Collection, Mapping

logger = logging.getLogger(__name__)

PREFIX = "AUTOTOOL_"
# Variables with the prefix that the client, the cache, the benchmark and the tests read.
OTHER_VARIABLES = frozenset(
    {
        *("AUTOTOOL_BASE_URL", "AUTOTOOL_CACHE_DIR", "AUTOTOOL_BFCL_PYTHON", "AUTOTOOL_EVAL_DATA", "AUTOTOOL_TRAIN_DATA"),
        *("AUTOTOOL_TEST_MODEL", "AUTOTOOL_TOKENIZERS"),
    }
)

KEYS = frozenset({"AUTOTOOL_API_KEY", "AUTOTOOL_KEYS", "AUTOTOOL_ADMIN_KEY", "AUTOTOOL_SEAL_KEY"})
"""Variables that must not be empty: whoever sets one wants it to protect something."""

# In a namespace with a service named autotool or autotool-NAME, Kubernetes sets these in every container:
# https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
_OF_A_SERVICE = re.compile(
    r"AUTOTOOL_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)", re.ASCII
)
_ADDRESS = re.compile(r"(tcp|udp|sctp)://")


def is_of_kubernetes(name: str, value: str | None) -> bool:
    """Whether a variable is one that Kubernetes sets for a service, such as `AUTOTOOL_PORT=tcp://10.0.0.1:8000`."""
    name = name.upper()
    if not name.startswith(PREFIX):
        return False
    return bool(_OF_A_SERVICE.fullmatch(name)) or (name.endswith("_PORT") and bool(_ADDRESS.match(value or "")))


def is_given(name: str, value: str | None) -> bool:
    """Whether a variable sets something: it is not empty and not of Kubernetes. A key counts even if it is empty."""
    return (bool(value) or name.upper() in KEYS) and not is_of_kubernetes(name, value)


def warn_about_unknown(environment: Mapping[str, str], settings: Collection[str]) -> None:
    """Log a warning for every variable with the prefix that nothing reads. `settings`: the variables of the settings."""
    known = {*settings, *OTHER_VARIABLES}
    for name, value in environment.items():
        if name.upper().startswith(PREFIX) and name.upper() not in known and not is_of_kubernetes(name, value):
            # Without the prefix, which would make all of them alike.
            names = sorted(variable.removeprefix(PREFIX) for variable in known)
            near = difflib.get_close_matches(name.upper().removeprefix(PREFIX), names, n=1)
            mend = f"Did you mean {PREFIX}{near[0]}?" if near else "`autotool serve --help` lists the settings."
            logger.warning("%s is not a setting and has no effect. %s", name, mend)
