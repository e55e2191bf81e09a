"""A machine that can be made to run short: of descriptors, memory, disk and time."""

import contextlib
import os
import pathlib
import re
import signal
import subprocess
import threading

import pytest
import requests

from world import ROOT, TIMEOUT, wait_until

MIB = 1024 * 1024


def descriptors(soft, hard=None):
    """A command that executes another one within so many descriptors."""
    return ["sh", "-c", f'ulimit -Sn {soft} && ulimit -Hn {hard or soft} && exec "$@"', "sh"]


def open_descriptors(process):
    return len(os.listdir(f"/proc/{process.child.pid}/fd"))


def processor_seconds(process):
    fields = pathlib.Path(f"/proc/{process.child.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def metric(proxy, name, labels=""):
    """One number of the page, or none."""
    found = re.search(rf"^{re.escape(name + labels)} (\S+)$", proxy.metrics(), re.M)
    return float(found[1]) if found else None


def told(proxy, event):
    """The lines of the log that tell of an event."""
    return [line for line in proxy.log() if line.get("message") == event]


def operator(proxy, path="/livez"):
    """A new connection to the operators' listener, with little patience."""
    return requests.get(proxy.admin + path, timeout=5, headers={"Connection": "close"})


class FakeGroup:
    """The files of a control group, of version 2, that say what a test wants."""

    def __init__(self, folder, limit=1000 * MIB):
        self.folder = folder
        self.limit = limit
        (folder / "memory.max").write_text(f"{limit}\n")
        self.use(0)

    def use(self, percent, inactive_file=0):
        (self.folder / "memory.stat").write_text(f"anon 1\ninactive_file {inactive_file}\nactive_file 0\n")
        new = self.folder / "memory.current.new"
        new.write_text(f"{self.limit * percent // 100}\n")
        new.rename(self.folder / "memory.current")


class RealGroup:
    """A control group of this machine with a limit of memory."""

    def __init__(self, limit):
        own = pathlib.Path("/proc/self/cgroup").read_text()
        if found := re.search(r"^\d+:(?:[^:]*,)?memory(?:,[^:]*)?:(/.*)$", own, re.M):
            mount, path, names = "/sys/fs/cgroup/memory", found[1], ("limit_in_bytes", "max_usage_in_bytes")
        else:
            mount, path, names = "/sys/fs/cgroup", re.search(r"^0::(/.*)$", own, re.M)[1], ("max", "peak")
        parent = pathlib.Path(mount) / path.lstrip("/")
        parent = parent if parent.exists() else pathlib.Path(mount)
        self.dir = parent / f"tollgate-test-{os.getpid()}"
        self.peak = f"memory.{names[1]}"
        try:
            self.dir.mkdir()
            (self.dir / f"memory.{names[0]}").write_text(str(limit))
        except OSError as error:
            with contextlib.suppress(OSError):
                self.dir.rmdir()
            pytest.skip(f"no control group with a limit of memory can be made here: {error}")

    def within(self):
        return ["sh", "-c", f'echo $$ > {self.dir}/cgroup.procs && exec "$@"', "sh"]

    def most_used(self):
        with contextlib.suppress(FileNotFoundError):
            return int((self.dir / self.peak).read_text())
        return 0

    def stop(self):
        wait_until(self._is_gone, what="a control group without processes")

    def _is_gone(self):
        with contextlib.suppress(OSError):
            self.dir.rmdir()
        return not self.dir.exists()


@contextlib.contextmanager
def small_disk(folder, size="1m"):
    """A file system that is soon full; skips where none may be mounted."""
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True, timeout=10
    )
    if done.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {done.stderr.decode(errors='replace').strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True, timeout=10)


def fill(folder):
    """Leaves no byte on its file system."""
    with contextlib.suppress(OSError), (folder / "ballast").open("wb", buffering=0) as ballast:
        while True:
            ballast.write(b"x" * 65536)
    with contextlib.suppress(OSError), (folder / "ballast").open("ab", buffering=0) as ballast:
        while True:
            ballast.write(b"x")


def together(count, work):
    """Runs it so many times at once and returns what came of each, exceptions included."""
    outcomes = [None] * count

    def run(number):
        try:
            outcomes[number] = work(number)
        except Exception as error:
            outcomes[number] = error

    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=TIMEOUT * 4)
    return outcomes


def clock_shim(folder):
    """A library that sets the wall clock by the number of seconds in a file, and that file."""
    library, offset = folder / "clock.so", folder / "offset"
    source = ROOT / "tests/clients/wall_clock.c"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True, timeout=60)
    offset.write_text("0")
    return library, offset


@contextlib.contextmanager
def suspended(process):
    """The process does nothing meanwhile."""
    process.child.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.child.send_signal(signal.SIGCONT)
