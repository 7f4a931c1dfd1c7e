"""Attacks on the built-in tool `python`, with each isolation method that this machine has."""

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pytest

from autotool_core.errors import AutoToolError
from autotool_server.tools.base import OversizeError, Policy, ToolError
from autotool_server.tools.builtin import BUILTIN_TOOLS
from autotool_server.tools.builtin import python as builtin
from autotool_server.tools.builtin.python import POLICY, PythonTool, probe
from autotool_server.tools.builtin.sandbox import Limits, Sandbox

# A server that is root gives up its rights before bubblewrap runs, and a home folder may then be closed to it.
PREFIXES = {"namespaces": Path(sys.base_prefix), "bubblewrap": Path("/usr")}
NEEDS = {"namespaces": "unshare", "bubblewrap": "bwrap"}
LIMITS = Limits(cpu_seconds=1)


@pytest.fixture(scope="module", params=list(NEEDS))
def sandbox(request: pytest.FixtureRequest) -> Sandbox:
    method: str = request.param
    if shutil.which(NEEDS[method]) is None:
        pytest.skip(f"{NEEDS[method]} is not installed")
    if not (PREFIXES[method] / "bin" / "python3").exists():
        pytest.skip(f"{PREFIXES[method]} has no python3")
    found = Sandbox(method, LIMITS, PREFIXES[method])
    failure = probe(found)
    if failure:
        pytest.skip(f"{method}: {failure}")
    return found


async def run(sandbox: Sandbox, code: str, policy: Policy = POLICY) -> str:
    try:
        output = await PythonTool(sandbox, policy).call({"code": code})
    except OversizeError:
        raise
    except ToolError as error:
        return str(error).strip()
    return output.decode(errors="replace").strip()


def alive(mark: str) -> list[int]:
    """Return the processes of this machine whose command line has the mark."""
    found: list[int] = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and mark.encode() in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


async def test_a_program(sandbox: Sandbox) -> None:
    assert (
        await run(sandbox, "import json, math\nprint(json.dumps([math.factorial(20)]), 'grün')") == "[2432902008176640000] grün"
    )
    failed = await run(sandbox, "print('before')\n1 / 0")
    assert failed.startswith("The program ended with status 1. It printed:\nbefore\nTraceback")
    assert 'File "<stdin>", line 2' in failed
    assert failed.endswith("ZeroDivisionError: division by zero")
    assert await run(sandbox, "pass") == "The program ended well and printed nothing."
    assert "SyntaxError" in await run(sandbox, "def f(:\n pass")
    assert await run(sandbox, "import os\nprint(os.getcwd(), os.listdir())\nopen('a', 'w').write('x')") == "/tmp []"  # noqa: S108 - the sandbox's own
    assert await run(sandbox, "import os\nprint(os.listdir())") == "[]"


async def test_network(sandbox: Sandbox) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        code = f"""
import socket
for address in (("127.0.0.1", {server.getsockname()[1]}), ("1.1.1.1", 443), ("169.254.169.254", 80)):
    try:
        socket.create_connection(address, 2)
        print("reached")
    except OSError as error:
        print(type(error).__name__, error.errno)
try:
    print(socket.getaddrinfo("example.com", 80))
except OSError as error:
    print("no name")
"""
        lines = (await run(sandbox, code)).splitlines()
        with pytest.raises(BlockingIOError):
            server.accept()
    # bubblewrap has a loopback device that is up, with nobody on it.
    own = "ConnectionRefusedError 111" if sandbox.method == "bubblewrap" else "OSError 101"
    assert lines == [own, "OSError 101", "OSError 101", "no name"]


async def test_fork_bomb(sandbox: Sandbox) -> None:
    code = """
import os, time
children = 0
try:
    while children < 200:
        if os.fork() == 0:
            time.sleep(60)
        children += 1
except BlockingIOError:
    pass
print(children)
"""
    assert 1 <= int(await run(sandbox, code)) < LIMITS.processes
    # And one whose children fork as well: the CPU limit of each, or the end of the first, ends all.
    bomb = """
import os, time
end = time.monotonic() + 0.5
while time.monotonic() < end:
    try:
        os.fork()
    except OSError:
        time.sleep(0.1)
"""
    await run(sandbox, bomb)


async def test_the_place_among_the_processes_that_are_ended_first_is_kept(sandbox: Sandbox) -> None:
    code = """
import os
for path in ("/proc/self/oom_score_adj", f"/proc/{os.getppid()}/oom_score_adj"):
    try:
        open(path, "w").write("0")
    except OSError as error:
        print(type(error).__name__)
print(open("/proc/self/oom_score_adj").read())
"""
    assert (await run(sandbox, code)).split() == ["OSError", "OSError", "1000"]


async def test_memory(sandbox: Sandbox) -> None:
    assert "MemoryError" in await run(sandbox, "bytearray(10 * 1024**3)")
    grow = "import mmap\nmmap.mmap(-1, 10 * 1024**3)"
    assert "Cannot allocate memory" in await run(sandbox, grow)


async def test_memory_keys_and_sockets_that_no_limit_and_no_namespace_covers(sandbox: Sandbox) -> None:
    code = """
import ctypes, os, platform, socket
libc = ctypes.CDLL(None, use_errno=True)
keyctl, x32 = {"x86_64": (250, 1 << 30 | 39), "aarch64": (219, 219)}[platform.machine()]
def errno(value):
    return ctypes.get_errno() if value == -1 else value
print([errno(libc.shmget(0, 1 << 20, 0o1600)), errno(libc.msgget(0, 0o1600)), errno(libc.semget(0, 1, 0o1600))])
print([errno(libc.syscall(number, 0, -3, 0)) for number in (keyctl, x32)])
for family in (socket.AF_VSOCK, socket.AF_NETLINK, socket.AF_PACKET, socket.AF_ALG):
    try:
        print(socket.socket(family, socket.SOCK_RAW))
    except PermissionError:
        print("refused")
try:
    print(os.memfd_create("x"))
except PermissionError:
    print("refused")
print([one.close() for one in socket.socketpair()], socket.socket(socket.AF_INET6).close())
"""
    refused = ["refused"] * 5
    assert (await run(sandbox, code)).splitlines() == ["[1, 1, 1]", "[1, 1]", *refused, "[None, None] None"]


async def test_endless_loop(sandbox: Sandbox) -> None:
    output = await run(sandbox, "print('begun')\nwhile True: pass")
    assert output == f"The program was stopped: killed, or more than {LIMITS.cpu_seconds} s of CPU time. It printed:\nbegun"


async def test_files_outside_cannot_be_written(sandbox: Sandbox) -> None:
    code = f"""
import os
for path in ("/x", "/usr/x", "/usr/bin/x", "/dev/x", "/dev/shm/x", "/etc/x", "/proc/x", "/proc/sys/kernel/hostname",
             "/var/tmp/x", {str(sandbox.prefix / "x")!r}, {str(Path.home() / "x")!r}, {str(Path(__file__).with_name("x"))!r}):
    try:
        open(path, "w").write("x")
        print("wrote", path)
    except OSError:
        pass
for call in (lambda: os.chmod("/usr", 0o777), lambda: os.mkdir("/y"),
             lambda: os.remove("/usr/bin/env"), lambda: os.chroot("/tmp")):
    try:
        call()
        print("changed")
    except OSError:
        pass
print("done")
"""
    assert await run(sandbox, code) == "done"


async def test_large_files(sandbox: Sandbox) -> None:
    code = """
import os
def fill(name, size):
    with open(name, "wb") as file:
        for _ in range(size):
            file.write(bytes(1024 * 1024))
for name, size in (("one", 1024), ("two", 30), ("three", 30)):
    try:
        fill(name, size)
        print(name, "written")
    except OSError as error:
        print(name, error.strerror)
print(sum(os.path.getsize(name) for name in os.listdir()) <= 64 * 1024**2)
"""
    assert (await run(sandbox, code)).splitlines() == [
        "one File too large",
        "two written",
        "three No space left on device",
        "True",
    ]


async def test_the_servers_environment_and_processes(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_THE_SERVER", "hunter2")
    code = f"""
import os, glob
print(len([name for name in os.listdir("/proc") if name.isdigit()]) <= 4,
      os.path.exists("/proc/{os.getpid()}") and {os.getpid()} > 9)
found = str(dict(os.environ)).encode()
for path in glob.glob("/proc/[0-9]*/environ") + glob.glob("/proc/[0-9]*/cmdline"):
    try:
        found += open(path, "rb").read()
    except OSError:
        pass
print(b"hunter2" in found, b"SECRET_OF" in found)
try:
    os.kill({os.getpid()}, 0)
    print("seen")
except ProcessLookupError:
    print("unseen")
"""
    assert await run(sandbox, code) == "True False\nFalse False\nunseen"


async def test_files_of_the_machine_cannot_be_read(sandbox: Sandbox) -> None:
    with tempfile.NamedTemporaryFile("w", suffix="tools.toml") as file:
        Path(file.name).chmod(0o666)  # noqa: ASYNC240 - at once
        code = f"""
import os
for path in ({file.name!r}, "/etc/shadow", "/etc/passwd", "/root/.bashrc", "/home", "/var", "/run", "/sys", "/old",
             {__file__!r}, "/proc/1/root/etc/shadow", "/proc/1/cwd/etc/shadow"):
    if os.path.exists(path):
        print("there is", path)
    try:
        open(path).read()
        print("read", path)
    except OSError:
        pass
print(sorted(os.listdir("/root")) if os.path.exists("/root") else [])
"""
        seen = await run(sandbox, code)
    part = sandbox.prefix.parts
    assert seen == (f"['{part[2]}']" if part[1] == "root" else "[]")


async def test_no_way_to_new_privileges(sandbox: Sandbox) -> None:
    code = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
print([libc.unshare(flag) for flag in (0x10000000, 0x00020000, 0x10020000, 0x40000000)])
print(libc.mount(b"none", b"/tmp", b"tmpfs", 0, None), libc.umount2(b"/tmp", 2), libc.umount2(b"/proc", 2))
print([line.split()[1] for line in open("/proc/self/status") if line.startswith(("CapEff", "CapPrm", "CapBnd", "NoNewPrivs"))])
"""
    nothing = "0" * 16
    expected = f"[-1, -1, -1, -1]\n-1 -1 -1\n['{nothing}', '{nothing}', '{nothing}', '1']"
    assert await run(sandbox, code) == expected


async def test_processes_left_over_end_with_the_call(sandbox: Sandbox) -> None:
    mark = f"left-over-{os.getpid()}"
    code = f"""
import os, subprocess, sys
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)", {mark!r}], start_new_session=True)
if os.fork() == 0:
    os.setsid()
    os.execv(sys.executable, [sys.executable, "-c", "import time; time.sleep(3600)", {mark!r}])
print("done")
"""
    assert await run(sandbox, code) == "done"
    await gone(mark)


async def test_cancellation_ends_everything(sandbox: Sandbox) -> None:
    mark = f"cancelled-{os.getpid()}"
    code = f"""
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.setsid() if os.getpid() != os.getpgid(0) else None
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)", {mark!r}], start_new_session=True)
time.sleep(3600)
"""
    call = asyncio.create_task(PythonTool(sandbox).call({"code": code}))
    while not alive(mark):  # noqa: ASYNC110 - another process
        await asyncio.sleep(0.05)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await gone(mark)


async def gone(mark: str) -> None:
    """Wait, because the kernel ends a namespace's processes a moment after its first."""
    end = time.monotonic() + 20
    while alive(mark) and time.monotonic() < end:  # noqa: ASYNC110 - another process
        await asyncio.sleep(0.05)
    assert alive(mark) == []


def test_a_killed_server_ends_the_sandbox(sandbox: Sandbox) -> None:
    mark = f"orphan-{os.getpid()}"
    code = f"import subprocess, sys, time; subprocess.run([sys.executable, '-c', 'import time; time.sleep(3600)', {mark!r}])"
    server = f"""
import subprocess
from pathlib import Path
from autotool_server.tools.builtin.sandbox import ENVIRONMENT, Sandbox
command = Sandbox({sandbox.method!r}, prefix=Path({str(sandbox.prefix)!r})).command()
subprocess.run(command, input={code.encode()!r}, env=ENVIRONMENT, cwd="/")
"""
    process = subprocess.Popen([sys.executable, "-c", server])
    try:
        # The server's own command line has the mark, too.
        while len(alive(mark)) < 2:
            time.sleep(0.05)
    finally:
        process.kill()
        process.wait()
    asyncio.run(gone(mark))


async def test_output_is_capped(sandbox: Sandbox) -> None:
    with pytest.raises(OversizeError):
        await run(sandbox, "while True: print('x' * 10_000)", replace(POLICY, max_result_bytes=1000))


def test_no_isolation_no_tool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builtin, "ENVIRONMENT", {"PATH": "/nowhere"})
    with pytest.raises(AutoToolError) as error:
        BUILTIN_TOOLS["python"]()
    assert str(error.value).startswith(
        "The built-in tool python cannot be isolated on this machine, and is not run unprotected ("
    )
    assert "bubblewrap: " in str(error.value)
    assert "namespaces: " in str(error.value)


@pytest.mark.parametrize(
    ("left_out", "reached"),
    [
        ("--net", "net namespace"),
        ("--pid", "mount /proc failed"),
        ("--bounding-set=-all", "privileges"),
        ("--nproc=16", "more processes than allowed"),
        ("umount -l /old\nrmdir /old", "other folders"),
    ],
)
def test_the_probe_reports_missing_isolation(
    left_out: str, reached: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from autotool_server.tools.builtin import sandbox as module

    sandbox = Sandbox("namespaces", Limits())
    if probe(sandbox):
        pytest.skip("namespaces cannot be used here")
    weak = tmp_path / "namespaces.sh"
    weak.write_text(module.SCRIPT.read_text().replace(left_out, ""))
    monkeypatch.setattr(module, "SCRIPT", weak)
    whole = Sandbox.command
    monkeypatch.setattr(Sandbox, "command", lambda self: [part for part in whole(self) if part != left_out])
    assert reached in (probe(sandbox) or "")
