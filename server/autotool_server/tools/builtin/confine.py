"""Set a seccomp filter inside the sandbox and execute the program.

    python -I -S -c THIS PROGRAM [ARGUMENT...]

The filter closes what namespaces and limits leave open: keys belong to the user and not to a namespace, memory behind a file
descriptor or a System V name counts for no process, and some families of sockets ignore network namespaces. The filter lists
the system calls that fail with EPERM, because a list of allowed ones would change with every release of Python and of the C
library.
"""

import ctypes
import os
import struct
import sys

# The architecture as the filter reads it (linux/audit.h), and the numbers (asm/unistd.h) of add_key, request_key, keyctl;
# memfd_create, memfd_secret, shmget, semget, msgget, mq_open; io_uring_setup, userfaultfd, bpf, perf_event_open, ptrace,
# process_vm_readv, process_vm_writev; and of socket and socketpair.
_MACHINES = {
    "x86_64": (0xC000003E, (248, 249, 250, 319, 447, 29, 64, 68, 240, 425, 323, 321, 298, 101, 310, 311), 41, 53),
    "aarch64": (0xC00000B7, (217, 218, 219, 279, 447, 194, 190, 186, 180, 425, 282, 280, 241, 117, 270, 271), 198, 199),
}
_FAMILIES = (1, 2, 10)
"""AF_UNIX, AF_INET and AF_INET6, which network namespaces isolate."""

# linux/bpf_common.h, linux/seccomp.h and linux/prctl.h.
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
_ALLOW, _EPERM, _KILL = 0x7FFF0000, 0x00050001, 0x80000000
_PR_SET_SECCOMP, _FILTER = 22, 2
_X32 = 0x40000000


def filter_program(machine: str) -> bytes:
    """Return the filter's program in classic BPF, 8 bytes an instruction. A jump is the number of instructions to skip."""
    architecture, denied, *sockets = _MACHINES[machine]
    code = [(_LOAD, 0, 0, _ARCHITECTURE), (_EQUAL, 1, 0, architecture), (_RETURN, 0, 0, _KILL), (_LOAD, 0, 0, _NUMBER)]
    for number in denied:
        code += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _EPERM)]
    # System calls of the x32 ABI, which has other numbers for the same calls.
    code += [(_AT_LEAST, 0, 1, _X32), (_RETURN, 0, 0, _EPERM)]
    code += [(_EQUAL, 2, 0, sockets[0]), (_EQUAL, 1, 0, sockets[1]), (_RETURN, 0, 0, _ALLOW), (_LOAD, 0, 0, _FIRST_ARGUMENT)]
    for family in _FAMILIES:
        code += [(_EQUAL, 0, 1, family), (_RETURN, 0, 0, _ALLOW)]
    code.append((_RETURN, 0, 0, _EPERM))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)


def confine(machine: str) -> None:
    """Install the filter. Raises OSError if the kernel rejects it."""
    kernel = ctypes.CDLL(None, use_errno=True)
    program = filter_program(machine)
    instructions = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("@HP", len(program) // 8, ctypes.addressof(instructions))
    if kernel.prctl(_PR_SET_SECCOMP, _FILTER, ctypes.create_string_buffer(header, len(header)), 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "the kernel takes no seccomp filter")


if __name__ == "__main__":
    if os.uname().machine not in _MACHINES:
        sys.exit(f"there is no seccomp filter for {os.uname().machine}, only for {', '.join(_MACHINES)}")
    confine(os.uname().machine)
    os.execv(sys.argv[1], sys.argv[1:])  # noqa: S606 replaces this process by the program
