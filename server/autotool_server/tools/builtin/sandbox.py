"""A Linux sandbox for one command: no network, no files of the machine, no other visible processes, hard limits.

There are two methods: bubblewrap, and util-linux's `unshare` with a script. Both need user namespaces, or a server that runs
as root. In both, `confine.py` closes what namespaces leave open and executes the program. Neither is trusted: `probe.py` runs
inside and reports what it can reach.
"""

import itertools
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SCRIPT = Path(__file__).with_name("namespaces.sh")
CONFINE = Path(__file__).with_name("confine.py")
ENVIRONMENT = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "HOME": "/tmp", "LANG": "C.UTF-8"}  # noqa: S108 inside the sandbox
METHODS = ("bubblewrap", "namespaces")

# Limits on processes do not apply to root, so a server that runs as root gives each run another user id. systemd assigns
# none of these ids, and they are below 65536, so that containers map them.
_USERS = itertools.cycle(range(60706, 61184))
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc/ld.so.cache")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one run."""

    memory: int = 512 * 1024**2
    """Bytes of address space of each process."""
    cpu_seconds: int = 10
    """CPU time of each process."""
    processes: int = 16
    """Processes and threads at the same time, including two or three of the sandbox itself."""
    disk: int = 64 * 1024**2
    """Bytes of the working folder, which is in memory."""
    file: int = 32 * 1024**2
    """Bytes of one file."""
    open_files: int = 64

    def command(self) -> list[str]:
        """Return the prefix of a command that sets the limits, as hard limits."""
        return [
            "prlimit",
            f"--as={self.memory}",
            # SIGXCPU comes one second before SIGKILL, which the program cannot handle.
            f"--cpu={self.cpu_seconds}:{self.cpu_seconds + 1}",
            f"--nproc={self.processes}",
            f"--fsize={self.file}",
            f"--nofile={self.open_files}",
            "--core=0",
            "--",
        ]


@dataclass(frozen=True, slots=True)
class Sandbox:
    """Builds the command that runs a Python program from standard input in isolation. It starts in an empty folder, /tmp."""

    method: str
    """One of `METHODS`."""
    limits: Limits = Limits()
    prefix: Path = Path(sys.base_prefix)
    """The folder of the interpreter, the only visible folder besides the system's programs and libraries."""

    def command(self) -> list[str]:
        """Return the command of one run. It needs `ENVIRONMENT`. Killing it kills all processes that it has started."""
        python = str(self.prefix / "bin" / "python3")
        confined = [python, "-I", "-S", "-B", "-c", CONFINE.read_text()]
        inside = [*self.limits.command(), *confined, python, "-I", "-B", "-u", "-X", "utf8", "-"]
        uid = str(next(_USERS)) if os.geteuid() == 0 else ""
        outside = self._bubblewrap(uid) if self.method == "bubblewrap" else self._namespaces(uid)
        # If the machine runs out of memory, the kernel ends this process first.
        return ["choom", "-n", "1000", "--", *outside, *inside]

    def _namespaces(self, uid: str) -> list[str]:
        user = [] if uid else ["--user", "--map-root-user"]
        return [
            *("setpriv", "--pdeathsig", "KILL", "--", "unshare", *user, "--mount", "--propagation", "private", "--"),
            *("sh", str(SCRIPT), uid, str(self.limits.disk), *self.visible_paths(), *_DEVICES, "--"),
        ]

    def _bubblewrap(self, uid: str) -> list[str]:
        user = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--"] if uid else []
        return [
            *(*user, "bwrap", "--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent", "--new-session"),
            *("--cap-drop", "ALL", *itertools.chain.from_iterable(map(_bind, self.visible_paths()))),
            *itertools.chain.from_iterable(("--dev-bind", device, device) for device in _DEVICES),
            # Read-only, so that the program cannot take back its place among the processes that are ended first.
            *("--proc", "/proc", "--remount-ro", "/proc", "--size", str(self.limits.disk), "--tmpfs", "/tmp"),  # noqa: S108 inside the sandbox
            *("--remount-ro", "/", "--chdir", "/tmp", "--"),  # noqa: S108 inside the sandbox
        ]

    def visible_paths(self) -> Sequence[str]:
        """Return the files and folders of the machine that are visible inside, read-only."""
        paths = [path for path in _SYSTEM if os.path.lexists(path)]
        inside = any(self.prefix.is_relative_to(path) for path in paths)
        return paths if inside else [*paths, str(self.prefix)]


def _bind(path: str) -> tuple[str, str, str]:
    if Path(path).is_symlink():
        return "--symlink", str(Path(path).readlink()), path
    return "--ro-bind", path, path
