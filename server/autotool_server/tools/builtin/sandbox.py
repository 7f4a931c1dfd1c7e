"""A Linux sandbox for one command: no network, no files of the machine, no other process in sight, hard limits.

Two ways to it: bubblewrap, and util-linux's `unshare` with a script. Both need user namespaces, or a server that is root.
Inside either, `confine.py` closes what namespaces leave open and becomes the program. Neither is trusted: `probe.py` is run
inside and says what it could reach.
"""

import itertools
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SCRIPT = Path(__file__).with_name("namespaces.sh")
CONFINE = Path(__file__).with_name("confine.py")
ENVIRONMENT = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "HOME": "/tmp", "LANG": "C.UTF-8"}  # noqa: S108 - the sandbox's own
WAYS = ("bubblewrap", "namespaces")

# Limits on processes are not enforced on root, so that a server that is root hands each run a user of its own. These
# numbers are left free by systemd's table of users and are below 65536, so that containers know them.
_USERS = itertools.cycle(range(60706, 61184))
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc/ld.so.cache")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one run may use."""

    memory: int = 512 * 1024**2
    """Bytes of address space, each process."""
    cpu_seconds: int = 10
    """CPU time, each process."""
    processes: int = 16
    """Processes and threads at once, the sandbox's own two or three included."""
    disk: int = 64 * 1024**2
    """Bytes of the working folder, which is in memory."""
    file: int = 32 * 1024**2
    """Bytes of one file."""
    open_files: int = 64

    def command(self) -> list[str]:
        """The prefix that sets the limits, hard ones."""
        return [
            "prlimit",
            f"--as={self.memory}",
            # A second between the signal that tells the reason and the one that ends it whatever it does.
            f"--cpu={self.cpu_seconds}:{self.cpu_seconds + 1}",
            f"--nproc={self.processes}",
            f"--fsize={self.file}",
            f"--nofile={self.open_files}",
            "--core=0",
            "--",
        ]


@dataclass(frozen=True, slots=True)
class Sandbox:
    """How to run a Python program from standard input where it can harm nothing. It starts in an empty folder, /tmp."""

    way: str
    limits: Limits = Limits()
    prefix: Path = Path(sys.base_prefix)
    """Where the interpreter is installed; the only folder to be seen beside the system's programs and libraries."""

    def command(self) -> list[str]:
        """The command of one run. It needs `ENVIRONMENT`; killing it kills all that was started by it."""
        python = str(self.prefix / "bin" / "python3")
        confined = [python, "-I", "-S", "-B", "-c", CONFINE.read_text()]
        inside = [*self.limits.command(), *confined, python, "-I", "-B", "-u", "-X", "utf8", "-"]
        uid = str(next(_USERS)) if os.geteuid() == 0 else ""
        outside = self._bubblewrap(uid) if self.way == "bubblewrap" else self._namespaces(uid)
        # Should the machine run out of memory, this is what the kernel ends first.
        return ["choom", "-n", "1000", "--", *outside, *inside]

    def _namespaces(self, uid: str) -> list[str]:
        user = [] if uid else ["--user", "--map-root-user"]
        return [
            *("setpriv", "--pdeathsig", "KILL", "--", "unshare", *user, "--mount", "--propagation", "private", "--"),
            *("sh", str(SCRIPT), uid, str(self.limits.disk), *self.shown(), *_DEVICES, "--"),
        ]

    def _bubblewrap(self, uid: str) -> list[str]:
        user = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--"] if uid else []
        return [
            *(*user, "bwrap", "--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent", "--new-session"),
            *("--cap-drop", "ALL", *itertools.chain.from_iterable(map(_bind, self.shown()))),
            *itertools.chain.from_iterable(("--dev-bind", device, device) for device in _DEVICES),
            *("--proc", "/proc", "--size", str(self.limits.disk), "--tmpfs", "/tmp"),  # noqa: S108 - the sandbox's own
            *("--remount-ro", "/", "--chdir", "/tmp", "--"),  # noqa: S108 - the sandbox's own
        ]

    def shown(self) -> Sequence[str]:
        """The files and folders of the machine that are to be seen inside, read-only."""
        shown = [path for path in _SYSTEM if os.path.lexists(path)]
        inside = any(self.prefix.is_relative_to(path) for path in shown)
        return shown if inside else [*shown, str(self.prefix)]


def _bind(path: str) -> tuple[str, str, str]:
    if Path(path).is_symlink():
        return "--symlink", str(Path(path).readlink()), path
    return "--ro-bind", path, path
