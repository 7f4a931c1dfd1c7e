"""Processes of an engine: they end with the thread that started them, and a stopped or hanging one is killed."""

import asyncio
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from subprocess import PIPE

import psutil
import pytest

from autotool_server.engines import child_processes
from autotool_server.engines.child_processes import Watch

NEEDS_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends processes with their parent")
PARENT = """
import multiprocessing, os, sys, time

from autotool_server.engines.child_processes import ending_with_this

method = sys.argv[1]


def grandchild():
    print(os.getpid(), flush=True)
    time.sleep(60)


def child():
    print(os.getpid(), flush=True)
    started = multiprocessing.get_context(method).Process(target=grandchild)
    started.start()
    started.join()


if __name__ == "__main__":
    with ending_with_this():
        multiprocessing.get_context(method).Process(target=child).start()
    time.sleep(60)
"""


def wait_for_end(*pids: int) -> None:
    gone, left = psutil.wait_procs([psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)], timeout=20)
    assert left == [], gone


@NEEDS_LINUX
@pytest.mark.parametrize(("method", "stops"), [("fork", True), ("spawn", False)])
def test_children_and_grandchildren_end_with_a_killed_parent(tmp_path: Path, method: str, stops: bool) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    with subprocess.Popen([sys.executable, script, method], stdout=PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(parent.stdout.readline()) for _ in range(2)]
        for pid in pids if stops else ():
            os.kill(pid, signal.SIGSTOP)
        parent.kill()
    wait_for_end(*pids)


@NEEDS_LINUX
def test_a_process_whose_parent_has_ended_before_ends_too() -> None:
    process = multiprocessing.get_context("fork").Process(target=child_processes._run_bound, args=(1, int))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def test_a_process_of_a_fork_server_is_left_alone() -> None:
    with child_processes.ending_with_this() as started:
        process = multiprocessing.get_context("forkserver").Process(target=int)
        process.start()
    process.join()
    assert (started, process.exitcode) == ([process], 0)


def sleeper() -> psutil.Process:
    return psutil.Popen([sys.executable, "-c", "import time; time.sleep(60)"])


def send(process: psutil.Process, number: signal.Signals) -> None:
    """Stop a process or let it go on, and wait until it does."""
    process.send_signal(number)
    while (process.status() == psutil.STATUS_STOPPED) != (number == signal.SIGSTOP):
        time.sleep(0.001)


async def answer() -> None:
    pass


async def refuse() -> None:
    raise RuntimeError


async def hang() -> None:
    await asyncio.sleep(60)


@pytest.mark.parametrize(
    ("number", "probe", "failure"),
    [
        (signal.SIGSTOP, answer, "A process of the engine is stopped."),
        (signal.SIGSTOP, hang, "A process of the engine is stopped."),
        (signal.SIGCONT, hang, "The engine has made no step for 20 seconds."),
    ],
)
async def test_a_stopped_or_hanging_engine_is_killed(
    number: signal.Signals, probe: Callable[[], Awaitable[None]], failure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child_processes, "LOOK_SECONDS", 0)
    engine, worker = sleeper(), sleeper()
    send(worker, number)
    watch = Watch([engine, worker], probe, 20)
    await watch.run()
    assert watch.failure == failure
    assert psutil.wait_procs([engine, worker], timeout=20)[1] == []


@pytest.mark.parametrize("probe", [answer, refuse])
async def test_an_engine_that_answers_is_left_alone(
    probe: Callable[[], Awaitable[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one whose process was stopped for a moment, as by a debugger."""
    monkeypatch.setattr(child_processes, "LOOK_SECONDS", 0)
    engine = sleeper()
    watch = Watch([engine], probe, 2)
    for number in [signal.SIGSTOP, signal.SIGCONT] * 3:
        send(engine, number)
        for _ in range(child_processes.STOPPED_LOOKS - 1):
            watch.failure = watch._look()
            await asyncio.sleep(0)
    assert watch.failure is None
    assert engine.is_running()
    engine.kill()
    engine.wait()


async def test_a_process_that_has_ended_is_no_fault_of_the_watch() -> None:
    engine = sleeper()
    engine.kill()
    engine.wait()
    assert Watch([engine], answer, 2)._look() is None


async def test_a_stopped_process_is_seen_behind_one_that_has_ended() -> None:
    ended, stopped = sleeper(), sleeper()
    ended.kill()
    ended.wait()
    send(stopped, signal.SIGSTOP)
    is_stopped = Watch([ended, stopped], answer, 2)._is_stopped()
    stopped.kill()
    stopped.wait()
    assert is_stopped


FORKED = """
import gc, multiprocessing, signal, socket, time

from autotool_server.engines.child_processes import ending_with_this


def child(begun):
    begun.send(gc.isenabled())
    time.sleep(60)


listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname(), timeout=10)
connection, _ = listener.accept()
ours, theirs = socket.socketpair()
ours.setblocking(False)
theirs.setblocking(False)
signal.set_wakeup_fd(theirs.fileno())
signal.signal(signal.SIGTERM, lambda *_: None)
context = multiprocessing.get_context("fork")
begun, begin = context.Pipe(duplex=False)
gc.disable()
with ending_with_this():
    process = context.Process(target=child, args=(begin,))
    process.start()
print("collects" if begun.recv() else "never collects")
connection.close()
print(client.recv(1))
process.terminate()
process.join()
print(process.exitcode)
try:
    print(ours.recv(1))
except BlockingIOError:
    print("not woken")
"""


@NEEDS_LINUX
def test_a_forked_child_keeps_no_connection_and_no_handler_of_signals_and_collects_garbage() -> None:
    done = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == ["collects", "b''", str(-signal.SIGTERM), "not woken"], done.stderr
