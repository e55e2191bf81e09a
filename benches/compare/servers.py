"""The servers of a comparison: started on free ports, each with what it has used of processor and memory."""

import os
import pathlib
import resource
import socket
import ssl
import subprocess
import time
import urllib.request

from world import SERVERS, pinned

TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


class Server:
    """One program with its children, ended by its own id."""

    name = ""
    #: A command that executes it.
    within = ()

    def __init__(self, world, core, command):
        self.world = world
        self.log = open(world.folder / f"{self.name}.err", "ab")
        self.child = subprocess.Popen(
            [str(part) for part in (*self.within, *command)], cwd=world.folder, preexec_fn=pinned(core),
            env={"PATH": os.environ["PATH"], "HOME": str(world.folder)},
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self.log,
        )
        self._wait()

    def _wait(self):
        end = time.monotonic() + 20
        while time.monotonic() < end:
            if self.child.poll() is not None:
                break
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.05)
        said = (self.world.folder / f"{self.name}.err").read_text()[-2000:]
        raise SystemExit(f"{self.name} did not start: {said}")

    def processes(self):
        """Its own and its children's ids."""
        found = [self.child.pid]
        for parent in found:
            for children in pathlib.Path(f"/proc/{parent}/task").glob("*/children"):
                found += [int(child) for child in children.read_text().split()]
        return found

    def threads(self):
        return sum(len(os.listdir(f"/proc/{process}/task")) for process in self.processes())

    def memory(self):
        """Resident bytes of all its processes."""
        return sum(int(_read(f"/proc/{process}/statm").split()[1]) * PAGE for process in self.processes())

    def cpu(self):
        return Cpu(self.processes())

    def stop(self):
        self.child.terminate()
        try:
            self.child.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        self.log.close()


class Cpu:
    """Processor time used so far: exact for each living thread, and coarse but with those that ended."""

    def __init__(self, processes):
        self.fine, self.coarse = {}, 0
        for process in processes:
            fields = _read(f"/proc/{process}/stat").rpartition(")")[2].split()
            self.coarse += int(fields[11]) + int(fields[12])
            for thread in pathlib.Path(f"/proc/{process}/task").iterdir():
                used = _read(thread / "schedstat").split()
                if used:
                    self.fine[thread.name] = int(used[0])

    def since(self, before):
        """Microseconds. The coarse figure where threads ended in between, or the kernel keeps no other."""
        coarse = (self.coarse - before.coarse) * 1e6 / TICK
        fine = sum(used - before.fine.get(thread, 0) for thread, used in self.fine.items()) / 1e3
        return fine if self.fine and abs(fine - coarse) < 3e6 / TICK + coarse * 0.01 else coarse


class Origin(Server):
    name = "origin"

    def __init__(self, world):
        self.port, self.status_port = free_port(), free_port()
        file = world.fill("origin.conf", origin_port=self.port, status_port=self.status_port)
        super().__init__(world, world.load_core, [SERVERS / "usr/sbin/nginx", "-c", file, "-p", world.folder])

    def requests(self):
        """Answered so far: those for this figure, and the inner ones of uploads, are taken off by who compares."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.status_port}/", timeout=5) as answer:
            return int(answer.read().split()[9])


class Nginx(Server):
    name = "nginx"

    def __init__(self, world, origin):
        self.port = free_port()
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        file = world.fill("nginx.conf", port=self.port, origin_port=origin.port, files=files)
        super().__init__(world, world.proxy_core, [SERVERS / "usr/sbin/nginx", "-c", file, "-p", world.folder])


class Haproxy(Server):
    name = "haproxy"

    def __init__(self, world, origin):
        self.port = free_port()
        file = world.fill("haproxy.cfg", port=self.port, origin_port=origin.port)
        super().__init__(world, world.proxy_core, [SERVERS / "usr/sbin/haproxy", "-f", file])


class Tollgate(Server):
    name = "tollgate"
    binary = None

    def __init__(self, world, origin, proof_ttl="1m", memory="256MiB"):
        self.port, admin = free_port(), free_port()
        file = world.fill("tollgate.toml", port=self.port, origin_port=origin.port, admin_port=admin,
                          proof_ttl=proof_ttl, memory=memory)
        state = world.folder / f"state-{self.port}"
        super().__init__(world, world.proxy_core, [self.binary, "run", "--config", file, "--state-dir", state])


class Bare(Server):
    """Tollgate's libraries without Tollgate: what no change of ours can get below."""

    name = "bare"
    binary = None

    def __init__(self, world, origin):
        self.port = free_port()
        files = [world.folder / name for name in ("proxy.pem", "proxy.key", "ca.pem")]
        super().__init__(world, world.proxy_core, [self.binary, self.port, *files, origin.port])


class Beside(Tollgate):
    """Another build of it."""

    name = "beside"


PROXIES = (Nginx, Haproxy, Tollgate)


def free_port():
    """One that was free a moment ago: two of the servers cannot tell which they took."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def trusting(world, protocols=("http/1.1",)):
    """TLS of a client: 1.3, the run's own CA, and these protocols."""
    context = ssl.create_default_context(cafile=world.folder / "ca.pem")
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(list(protocols))
    return context


def _read(path):
    try:
        return pathlib.Path(path).read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
