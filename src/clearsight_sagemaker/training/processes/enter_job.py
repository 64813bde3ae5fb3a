"""Program that starts the command of a job in a view of the machine that is the job's alone, and ends its tree.

It runs as a script in an interpreter without site-packages, reads a JSON object from its input (`Launch.to_json`) and
writes JSON lines about the end of the command to a descriptor. It uses the standard library alone.

Processes: this one, which the runner started; in a new PID namespace its child is process 1 there; the command is a
child of the last. SIGTERM is passed on to the whole tree; SIGUSR1 kills it. Where the runner is killed, the kernel
kills this process, and with it the namespace.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import resource
import signal
import socket
import struct
import sys
from types import FrameType
from typing import Any

_NEW_MOUNTS, _NEW_USER, _NEW_PIDS, _NEW_NETWORK = 0x20000, 0x10000000, 0x20000000, 0x40000000
_READ_ONLY, _REMOUNT, _BIND, _RECURSIVE, _PRIVATE = 1, 32, 4096, 16384, 1 << 18
_LOCKED_FLAGS = 2 | 4 | 8  # nosuid, nodev, noexec: a remount may not drop them
_PARENT_DEATH, _SUBREAPER = 1, 36  # options of prctl
_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
_CANNOT_START = 127
_FILES = 65536  # that a process of a job may have open, where the machine allows as many

_libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    launch = json.loads(sys.stdin.buffer.read())
    status = launch["status"]
    os.set_inheritable(status, False)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    _die_with_parent(launch["runner"])
    try:
        if launch["way"] in ("overlay", "tmpfs"):
            code = _run_in_namespaces(launch)
        else:
            if sys.platform == "linux":
                _call("prctl", _SUBREAPER, 1, 0, 0, 0)
            code = _run_tree(launch, _descendants)
    except OSError as error:
        _report(status, problem=str(error))
        code = _CANNOT_START
    os._exit(code)


def _run_in_namespaces(launch: dict[str, Any]) -> int:
    uid, gid = os.getuid(), os.getgid()
    _call("unshare", _NEW_USER | _NEW_MOUNTS | _NEW_PIDS | (_NEW_NETWORK if launch["no_network"] else 0))
    _map_user(0, uid, 0, gid)
    _mount("none", "/", "", _RECURSIVE | _PRIVATE)
    _show_ml(launch)
    _name_host(f"{launch['work']}/mounts/hosts")
    if launch["no_network"]:
        _start_loopback()
    _die_with_parent(launch["runner"])  # the new namespace has taken it back
    first = os.fork()
    if not first:
        _guarded(launch["status"], lambda: _first_process(launch, uid, gid))
    return _pass_signals_on(first)


def _first_process(launch: dict[str, Any], uid: int, gid: int) -> int:
    """Run as process 1 of the namespace: when it ends, the kernel kills the rest."""
    _call("prctl", _PARENT_DEATH, signal.SIGKILL, 0, 0, 0)
    with contextlib.suppress(OSError):  # refused in some containers; then /proc shows the processes outside
        _mount("proc", "/proc", "proc", 0)

    def become_user() -> None:
        _call("unshare", _NEW_USER)
        _map_user(uid, 0, gid, 0)

    return _run_tree(launch, lambda: [-1], become_user)


def _show_ml(launch: dict[str, Any]) -> None:
    """Mount the job's folder on /opt/ml; the machine's /opt stays as it is."""
    work, opt, ml = launch["work"], launch["opt"], launch["ml"]
    upper, scratch = f"{work}/mounts/opt", f"{work}/mounts/scratch"
    os.makedirs(upper, exist_ok=True)
    if launch["way"] == "overlay":
        _mount_overlay(opt, upper, f"{scratch}-opt", opt)
        if launch["links"]:
            data = f"{ml}/input/data"
            _mount_overlay(launch["links"], f"{work}/mounts/data", f"{scratch}-data", data)
            for channel in launch["read_only"]:
                _bind_read_only(f"{launch['links']}/{channel}", f"{data}/{channel}")
    else:
        _mount("tmpfs", upper, "tmpfs", 0)
        for entry in os.scandir(opt):
            _show_entry(entry, f"{upper}/{entry.name}")
        _mount(upper, opt, "", _BIND | _RECURSIVE)
    target = f"{opt}/ml"
    if os.path.islink(target):
        os.unlink(target)
    os.makedirs(target, exist_ok=True)
    _mount(ml, target, "", _BIND | _RECURSIVE)


def _name_host(path: str) -> None:
    """Let the host of the job be found by its name."""
    with contextlib.suppress(OSError), open("/etc/hosts", "rb") as hosts, open(path, "wb") as copy:
        copy.write(hosts.read().rstrip() + b"\n127.0.0.1 algo-1\n")
        copy.flush()
        _mount(path, "/etc/hosts", "", _BIND)


def _show_entry(entry: os.DirEntry[str], target: str) -> None:
    if entry.is_symlink():
        os.symlink(os.readlink(entry.path), target)
        return
    if entry.is_dir():
        os.mkdir(target)
    else:
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY))
    _mount(entry.path, target, "", _BIND | _RECURSIVE)


def _mount_overlay(lower: str, upper: str, scratch: str, target: str) -> None:
    for folder in (upper, scratch):
        os.makedirs(folder, exist_ok=True)
    options = f"lowerdir={_escaped(lower)},upperdir={_escaped(upper)},workdir={_escaped(scratch)}"
    _mount("overlay", target, "overlay", 0, options)


def _bind_read_only(source: str, target: str) -> None:
    _mount(source, target, "", _BIND)
    locked = os.statvfs(target).f_flag & _LOCKED_FLAGS
    _mount("none", target, "", _BIND | _REMOUNT | _READ_ONLY | locked)


def _escaped(path: str) -> str:
    return path.replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,")


def _run_tree(launch: dict[str, Any], tree: Any, prepare: Any = None) -> int:
    """Run the command, report its end, and return its exit code, 128 + the number of a signal that killed it.

    tree: returns the PIDs of the tree, or [-1] for all processes of the namespace.
    """
    runner = os.getpid()
    command = os.fork()
    if not command:
        _guarded(launch["status"], lambda: _execute(launch, prepare, runner))

    def pass_on(number: int, _frame: FrameType | None) -> None:
        for pid in tree():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL if number == signal.SIGUSR1 else number)

    _handle(pass_on)
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == command:
            break
    code = os.waitstatus_to_exitcode(status)
    _report(launch["status"], exit_code=code if code >= 0 else 128 - code, signal=max(0, -code))
    if tree() != [-1]:
        _kill_rest(tree)
    return code if code >= 0 else 128 - code


def _kill_rest(tree: Any) -> None:
    """Kill what a command has left behind, also what it starts meanwhile."""
    while True:
        for pid in tree():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:  # none is left
            return


def _execute(launch: dict[str, Any], prepare: Any, parent: int) -> int:
    if prepare is not None:
        prepare()
    elif sys.platform == "linux":
        _die_with_parent(parent)
    for number in (*_SIGNALS, signal.SIGPIPE, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    few, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = _FILES if most == resource.RLIM_INFINITY else min(_FILES, most)
    if few != resource.RLIM_INFINITY and few < files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, most))
    program = launch["command"][0]
    try:
        os.chdir(launch["folder"])
        os.execvpe(program, launch["command"], os.environ)
    except OSError as error:
        raise OSError(f"{program}: {error.strerror}") from None


def _guarded(status: int, act: Any) -> None:
    """Run `act` in a forked child, which never returns from here."""
    code = _CANNOT_START
    try:
        code = act()
    except OSError as error:
        _report(status, problem=str(error))
    finally:
        os._exit(code)


def _pass_signals_on(pid: int) -> int:
    def pass_on(number: int, _frame: FrameType | None) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)

    _handle(pass_on)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return code if code >= 0 else 128 - code


def _handle(handler: Any) -> None:
    for number in _SIGNALS:
        signal.signal(number, handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)


def _descendants() -> list[int]:
    """Return the PIDs of all processes below this one."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc") if os.path.isdir("/proc") else []:
        if name.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:
                parent = int(file.read().rpartition(b")")[2].split()[1])
                children.setdefault(parent, []).append(int(name))
    pids, queue = [], [os.getpid()]
    while queue:
        queue += (below := children.get(queue.pop(), []))
        pids += below
    return pids


def _die_with_parent(parent: int) -> None:
    if sys.platform == "linux":
        _call("prctl", _PARENT_DEATH, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it has ended before
            os._exit(_CANNOT_START)


def _map_user(inside_uid: int, uid: int, inside_gid: int, gid: int) -> None:
    # Without this the kernel refuses the map of groups.
    with contextlib.suppress(FileNotFoundError), open("/proc/self/setgroups", "w") as file:
        file.write("deny")
    for name, inside, outside in (("uid_map", inside_uid, uid), ("gid_map", inside_gid, gid)):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(f"{inside} {outside} 1")


def _start_loopback() -> None:
    """Switch on the loopback interface, the only one in the new network namespace."""
    request, get, put, up = struct.Struct("16sh14x"), 0x8913, 0x8914, 1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        _, flags = request.unpack(fcntl.ioctl(control, get, request.pack(b"lo", 0)))
        fcntl.ioctl(control, put, request.pack(b"lo", flags | up))


def _mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    result = _libc.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), options.encode())
    if result:
        code = ctypes.get_errno()
        raise OSError(code, f"mount of {kind or source} on {target}: {os.strerror(code)}")


def _call(function: str, *values: int) -> None:
    if getattr(_libc, function)(*(ctypes.c_ulong(value) for value in values)):
        code = ctypes.get_errno()
        raise OSError(code, f"{function}: {os.strerror(code)}")


def _report(status: int, **facts: Any) -> None:
    os.write(status, json.dumps(facts).encode() + b"\n")


if __name__ == "__main__":
    main()
