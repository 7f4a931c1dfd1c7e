"""Test the sandbox from inside when the server starts: print what the program can reach, as a JSON list.

The interpreter in the sandbox reads this program from standard input and cannot import this package. The server replaces
the literal of `FACTS` by the facts about itself that the checks need.
"""

import errno
import json
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator

FACTS = {"namespaces": {}, "file": "", "folders": [], "environment": [], "processes": 0}


def _namespaces() -> Iterator[str]:
    for name, outer in FACTS["namespaces"].items():
        if os.readlink(f"/proc/self/ns/{name}") == outer:  # noqa: PTH115 - the target is no path
            yield f"the server's {name} namespace"
    if os.readlink("/proc/self") != str(os.getpid()):  # noqa: PTH115
        yield "the server's /proc"


def _network() -> Iterator[str]:
    with open("/proc/net/dev") as file:  # noqa: PTH123
        # The first two lines are headings.
        if [line for line in file.readlines()[2:] if line.split(":")[0].strip() != "lo"]:
            yield "network interfaces"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        # An address for documentation. Connecting a datagram socket looks up the route and sends nothing.
        if sock.connect_ex(("192.0.2.1", 9)) != errno.ENETUNREACH:
            yield "a route to the network"


def _files() -> Iterator[str]:
    if os.path.exists(FACTS["file"]):  # noqa: PTH110
        yield "the server's files"
    if set(os.listdir("/")) - set(FACTS["folders"]):  # noqa: PTH208
        yield "other folders"
    if os.getcwd() != "/tmp" or os.listdir():  # noqa: PTH109, PTH208, S108 - the sandbox's own
        yield "a working folder that is not empty"
    yield from (f"writing in {folder}" for folder in ("/", "/usr", "/dev", sys.prefix) if _writable(folder))


def _writable(folder: str) -> bool:
    try:
        os.close(os.open(os.path.join(folder, "probe"), os.O_CREAT | os.O_WRONLY))  # noqa: PTH118
    except OSError:
        return False
    return True


def _privileges() -> Iterator[str]:
    with open("/proc/self/status") as file:  # noqa: PTH123
        status = dict(line.split(":", 1) for line in file)
    if int(status["CapEff"], 16) or int(status["CapBnd"], 16) or status["NoNewPrivs"].strip() != "1":
        yield "privileges"
    if status["Seccomp"].strip() != "2":
        yield "system calls that the filter should deny"
    if set(os.environ) - set(FACTS["environment"]):
        yield "the server's environment"
    try:
        with open("/proc/self/oom_score_adj", "w") as file:  # noqa: PTH123
            file.write("0")
        yield "its place among the processes that are ended when memory runs out"
    except OSError:
        pass


def _calls() -> Iterator[str]:
    vsock = 40
    attempts: dict[str, Callable[[], object]] = {"the virtual machine's host": lambda: socket.socket(vsock, socket.SOCK_STREAM)}
    if hasattr(os, "memfd_create"):
        attempts["memory without a limit"] = lambda: os.memfd_create("probe")
    for resource_name, attempt in attempts.items():
        try:
            attempt()
        except PermissionError:
            continue
        yield resource_name


def _limits() -> Iterator[str]:
    for name in ("AS", "CPU", "NPROC", "FSIZE", "NOFILE"):
        if resource.getrlimit(getattr(resource, f"RLIMIT_{name}"))[1] == resource.RLIM_INFINITY:
            yield f"no limit on {name}"
    children: list[int] = []
    try:
        for _ in range(FACTS["processes"]):
            children.append(os.fork())
            if children[-1] == 0:
                time.sleep(60)
        yield "more processes than allowed"
    except BlockingIOError:
        pass
    for child in children:
        os.kill(child, signal.SIGKILL)


def _main() -> None:
    checks = (_namespaces, _network, _files, _privileges, _calls, _limits)
    print(json.dumps([finding for check in checks for finding in check()]))  # noqa: T201 the result


_main()
