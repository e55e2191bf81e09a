"""A soak: mixed load through a Tollgate with limits, faults, reloads and new certificates, watched from second to second."""

import json
import os
import pathlib
import random
import re
import signal
import ssl
import subprocess
import threading
import time

import requests

from traffic import named, token_of
from verdict import HEADINGS, QUIET, row_of
from world import ROOT, TIMEOUT

BOTS = [f"bot{number}" for number in range(8)]
AUDITOR = "auditor"

# Seconds within which every request must have ended: Go's clients give up after thirty.
DEADLINE = 30

# Limits of the simulator, so narrow that the load meets them: requests a minute, and at once.
LIMITS = ["messages=120:20", "contents=300:40", "people=120:20", "egress=4800:120"]

# A refusal stops its asker alone: those that are ordered, by chance and for no limit at all, would have the gate learn a
# rate for everybody at which nothing else is left to look at.
TABLES = {
    "gate": {"start_rate": 50, "max_wait": "5s", "retry_after_scope": "route"},
    "upstream": {"header_timeout": "3s", "idle_timeout": "3s", "pool_idle_timeout": "5s"},
    "cache": {"memory": "16MiB", "max_entry": "4MiB", "proof_ttl": "5s"},
    "log": {"level": "warn"},
    "reload": {"poll": ""},
    "shutdown": {"delay": "0s", "drain": "5s"},
}

# Gauges of the metrics page, summed over their labels.
GAUGES = {
    "connections": "tollgate_connections",
    "in_flight": "tollgate_requests_in_flight",
    "waiting": "tollgate_queue_depth",
    "upstream": "tollgate_upstream_connections",
    "spool": "tollgate_spool_bytes",
    "cache": "tollgate_cache_bytes",
    "disk": "tollgate_cache_disk_bytes",
    "requests": "tollgate_requests_total",
    "panics": "tollgate_panics_total",
}


def email_of(name):
    return f"{token_of(name)}@example.com"


class Certificates:
    """A CA of the test's own, and one certificate after the other in the same two files."""

    def __init__(self, folder):
        self.folder = folder
        self.ca = folder / "ca.pem"
        self.certificate, self.key = folder / "serving.pem", folder / "serving.key"
        self.made = 0
        self._run("req", "-x509", *self._new_key("ca.key"), "-out", self.ca, "-days", "2", "-subj", "/CN=Soak CA")
        self.renew()

    def renew(self):
        """A new pair. First the key: it is taken when both belong together, on the next reload."""
        self.made += 1
        request, names = self.folder / "csr", self.folder / "names"
        names.write_text("subjectAltName = DNS:localhost\nbasicConstraints = critical,CA:FALSE\n")
        self._run("req", *self._new_key("new.key"), "-out", request, "-subj", f"/CN=soak {self.made}")
        signed = ["-in", request, "-CA", self.ca, "-CAkey", self.folder / "ca.key", "-CAcreateserial", "-days", "2"]
        self._run("x509", "-req", *signed, "-extfile", names, "-out", self.folder / "new.pem")
        os.replace(self.folder / "new.key", self.key)
        os.replace(self.folder / "new.pem", self.certificate)

    def _new_key(self, name):
        return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", self.folder / name]

    def _run(self, *arguments):
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, timeout=30)


def sample(proxy):
    """What the process holds now."""
    process = pathlib.Path(f"/proc/{proxy.child.pid}")
    status = (process / "status").read_text()
    page = proxy.metrics()
    found = {
        "rss": int(re.search(r"^VmRSS:\s+(\d+)", status, re.M)[1]) * 1024,
        "threads": int(re.search(r"^Threads:\s+(\d+)", status, re.M)[1]),
        "fds": len(list((process / "fd").iterdir())),
    }
    for name, metric in GAUGES.items():
        values = re.findall(rf"^{metric}(?:\{{.*\}})? (\S+)$", page, re.M)
        found[name] = sum(float(value) for value in values)
    return found


class Repeated(threading.Thread):
    """Does something every so many seconds until it is ended; what it raised is raised by `end`."""

    def __init__(self, seconds, act):
        super().__init__(daemon=True)
        self.seconds, self.act = seconds, act
        self.over = threading.Event()
        self.fault = None
        self.done = 0
        self.start()

    def run(self):
        while not self.over.wait(self.seconds):
            try:
                self.act(self.done)
            except Exception as fault:
                self.fault = fault
                return
            self.done += 1

    def end(self):
        self.over.set()
        self.join(timeout=60)
        if self.fault:
            raise self.fault
        return self.done


def fault(chance):
    """One order for the simulator: what goes wrong with the next request that it fits."""
    kind = chance.choice(["status", "refusal", "close", "cut", "slow", "stall", "early"])
    order = {"user": email_of(chance.choice(BOTS))}
    method, path = chance.choice(
        [
            ("GET", "/v1/contents/*"),
            ("HEAD", "/v1/contents/*"),
            ("GET", "/v1/messages"),
            ("GET", "/v1/people/me"),
            ("GET", "/v1/rooms/*"),
            ("POST", "/v1/messages"),
            ("POST", "/v1/messages"),
            ("DELETE", "/v1/messages/*"),
        ]
    )
    order |= {"method": method, "path": path}
    if kind == "status":
        order["status"] = chance.choice([500, 502, 503, 504])
    elif kind == "refusal":
        order |= {"status": 429, "headers": {"Retry-After": chance.choice(["1", "1", "1", "8"])}}
    elif kind == "close":
        order["close"] = chance.choice(["before", "headers", "reset", "stream"])
    elif kind == "cut":
        order["truncate"] = chance.choice([1, 100, 20_000])
    elif kind == "slow":
        order["delay_ms"] = chance.choice([300, 1500, 4000])
    elif kind == "stall":
        order |= {"pause_after": chance.choice([1, 5000]), "pause_ms": chance.choice([500, 4000])}
    else:
        order |= {"status": 503, "when": chance.choice(["head", "half"])}
    return order


class Soak:
    """One run, from the start of both processes until the proxy is quiet again."""

    def __init__(self, pair, folder, seconds, seed=1, workers=None):
        self.seconds, self.seed = seconds, seed
        self.workers = workers or {"h1": 10, "h2": 14}
        self.folder = folder("soak")
        self.certificates = Certificates(folder("certificates"))
        tls = {"cert_file": str(self.certificates.certificate), "key_file": str(self.certificates.key)}
        disk = {"path": str(folder("disk")), "size": "64MiB"}
        tables = TABLES | {"listen.tls": tls, "cache.disk": disk}
        limits = [word for limit in LIMITS for word in ("--limit", limit)]
        self.sim, self.proxy = pair(sim_flags=["--limit-mode", "token-bucket", *limits], tables=tables)
        self.plain = (self.proxy.folder / "tollgate.toml").read_text()
        self.samples = []
        self._furnish()
        self.before = sample(self.proxy)

    def _furnish(self):
        sim = self.sim
        sim.person(token_of(AUDITOR))
        self.room = sim.room(token_of(AUDITOR))
        self.persons = [sim.person(token_of(name), room=self.room) for name in BOTS]
        # Together more than the memory of the cache, and some too large for it.
        sizes = [5_000 + 997 * number for number in range(20)] + [700_000 + number for number in range(20)]
        shelf = sim.room(token_of(AUDITOR), "Shelf")
        [sim.control("POST", "memberships", json={"roomId": shelf, "personEmail": email_of(name)}) for name in BOTS]
        orders = [{"roomId": shelf, "name": "a.bin", "size": size} for size in [*sizes, 6_000_000, 6_000_001]]
        self.contents = [
            {"path": made["url"].removeprefix("https://webexapis.com"), "sha256": made["sha256"], "size": order["size"]}
            for order in orders
            for made in [sim.control("POST", "content", json=order)]
        ]

    def run(self, tell=lambda text: None):
        """The load and all that disturbs it. Returns what the clients say."""
        chance = random.Random(self.seed)
        started = time.monotonic()

        def watch(_):
            self.samples.append({"at": time.monotonic() - started} | sample(self.proxy))
            if len(self.samples) % max(1, self.seconds // 20) == 0:
                tell(row_of(self.samples[-1]))

        def spoil(_):
            self._order("force", fault(chance))

        client = self._clients()
        tell(HEADINGS)
        every = max(5, self.seconds // 30)
        order = [(1, watch), (0.4, spoil), (3, self.reload), (every, self._renew), (every, self._switch)]
        repeated = [Repeated(*one) for one in order]
        try:
            said = client.stdout.read()
            client.wait(timeout=10)
        finally:
            client.kill()
            client.stdin.close()
            _, self.faults, self.reloads, self.renewed, _ = [one.end() for one in repeated]
        assert client.returncode == 0, (self.folder / "load.err").read_text()[-2000:]
        return json.loads(said)

    def _clients(self):
        settings = {
            "base": self.proxy.base,
            "ca": str(self.certificates.ca),
            "tokens": [token_of(name) for name in BOTS],
            "persons": self.persons,
            "room": self.room,
            "contents": self.contents,
            "seconds": self.seconds,
            "seed": self.seed,
            "workers": self.workers,
            "deadline_ms": DEADLINE * 1000,
            "think_ms": 300,
        }
        path = self.folder / "load.json"
        path.write_text(json.dumps(settings))
        script = ROOT / "tests/clients/load.mjs"
        pipe = subprocess.PIPE
        # Its input stays open: it ends by itself, or with this process.
        with (self.folder / "load.err").open("w") as errors:
            return subprocess.Popen(["node", script, path], stdin=pipe, stdout=pipe, stderr=errors, text=True)

    def reload(self, number):
        """Another configuration, and the certificate that lies there now."""
        changed = f'\n[limits]\nstreams = {50 + number % 10}\n' + named(BOTS[: number % len(BOTS)])
        path = self.proxy.folder / "tollgate.toml"
        new = path.with_suffix(".new")
        new.write_text(self.plain + changed)
        os.replace(new, path)
        self.proxy.child.send_signal(signal.SIGHUP)

    def _renew(self, _):
        self.certificates.renew()

    def _switch(self, number):
        """The API's new connections speak HTTP/1.1, and the next time HTTP/2 again; both break in their own ways."""
        self._order("settings", {"alpn": ["http/1.1", "h2,http/1.1"][number % 2]})

    def _order(self, call, order):
        """On a connection of its own: threads share none, and none is old enough to be closed under the request."""
        with requests.Session() as session:
            session.trust_env = False
            session.post(f"{self.sim.http}/_sim/{call}", json=order, timeout=TIMEOUT).raise_for_status()

    def shown(self):
        """The certificate that a new connection gets."""
        return ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(("127.0.0.1", self.proxy.https_port), timeout=10))

    def settle(self, seconds=40):
        """Waits until nothing of the load is left; the last sample."""
        end = time.monotonic() + seconds
        while True:
            now = sample(self.proxy)
            if not any(now[name] for name in QUIET) or time.monotonic() > end:
                return now
            time.sleep(0.5)

    def written(self):
        """How often each text stands in the room, as the simulator itself says."""
        self.sim.set(limit="all=off")
        counts, before = {}, ""
        while True:
            path = f"/v1/messages?roomId={self.room}&max=1000{before}"
            page = self.sim.ask(token_of(AUDITOR), "GET", path).json()["items"]
            for message in page:
                counts[message.get("text")] = counts.get(message.get("text"), 0) + 1
            if len(page) < 1000:
                return counts
            before = f"&beforeMessage={page[-1]['id']}"
