"""The world of a test: a simulated Webex, a Tollgate in front of it, and bots that know only the latter."""

import contextlib
import json
import os
import pathlib
import queue
import subprocess
import threading
import time

import requests

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(os.environ.get("CLIENTS_BINARY", ROOT / "target/debug/tollgate"))
API = "https://webexapis.com"

# No test waits longer than this for one answer; what takes longer is a hang.
TIMEOUT = 30


class Process:
    """A child that is read while it runs and ended by its own id. `within`: a command that ends in executing it."""

    def __init__(self, arguments, folder, environment=None, within=()):
        self.arguments = [str(argument) for argument in (*within, *arguments)]
        clean = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
        clean |= {"NO_PROXY": "*"} | (environment or {})
        self.child = subprocess.Popen(
            self.arguments,
            cwd=folder,
            env=clean,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.lines = queue.Queue()
        self.output = []
        self.errors = []
        self.readers = [
            threading.Thread(target=self._read, args=(self.child.stdout, self.output), daemon=True),
            threading.Thread(target=self._read, args=(self.child.stderr, self.errors), daemon=True),
        ]
        for reader in self.readers:
            reader.start()

    def _read(self, stream, into):
        for line in stream:
            text = line.decode(errors="replace").rstrip("\n")
            into.append(text)
            if into is self.output:
                self.lines.put(text)

    def said(self):
        return "\n".join(["$ " + " ".join(self.arguments), *self.output[-40:], *self.errors[-40:]])

    def wait_for_line(self, start, seconds=20):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with contextlib.suppress(queue.Empty):
                line = self.lines.get(timeout=0.1)
                if start in line:
                    return line
            if self.child.poll() is not None and self.lines.empty():
                break
        raise AssertionError(f"no line with {start!r}:\n{self.said()}")

    def memory_peak(self):
        """The most resident memory so far, in bytes."""
        status = pathlib.Path(f"/proc/{self.child.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024

    def stop(self):
        if self.child.poll() is None:
            self.child.terminate()
            try:
                self.child.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait(timeout=10)
        for reader in self.readers:
            reader.join(timeout=5)
        return self.child.returncode


class Proxy(Process):
    """`tollgate run` on ports of its own."""

    def __init__(self, folder, connect, upstream_ca, config="", upstream=API, tables=None, environment=None, within=()):
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.state = folder / "state"
        self.ca = self.state / "ca.pem"
        path = folder / "tollgate.toml"
        defaults = {"shutdown": {"delay": "0s", "drain": "2s"}}
        if connect:
            defaults["upstream"] = {"connect": [connect]}
        given = tables or {}
        tables = {name: defaults.get(name, {}) | given.get(name, {}) for name in {**defaults, **given}}
        path.write_text(toml_of(tables) + "\n" + config)
        ports = self.state / "ports.json"
        ports.unlink(missing_ok=True)
        arguments = [BINARY, "run", "--config", path, "--state-dir", self.state, "--upstream", upstream]
        arguments += ["--listen", "127.0.0.1:0", "--listen-http", "127.0.0.1:0", "--admin", "127.0.0.1:0"]
        if upstream_ca:
            arguments += ["--upstream-ca", upstream_ca]
        super().__init__(arguments, folder, environment, within)
        addresses = self._addresses(ports)
        self.https_address = addresses["https"]
        self.http_address = addresses["http"]
        self.admin_address = addresses["admin"]
        self.https_port = int(self.https_address.rsplit(":", 1)[1])
        self.http_port = int(self.http_address.rsplit(":", 1)[1])
        self.base = f"https://localhost:{self.https_port}"
        self.plain = f"http://localhost:{self.http_port}"
        self.admin = f"http://{self.admin_address}"

    def _addresses(self, ports):
        end = time.monotonic() + 30
        while time.monotonic() < end:
            with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
                addresses = json.loads(ports.read_text())
                if {"https", "http", "admin"} <= addresses.keys():
                    return addresses
            if self.child.poll() is not None:
                break
            time.sleep(0.02)
        raise AssertionError(f"the proxy did not start:\n{self.said()}")

    def bot(self, token):
        return Bot(self.base, token, self.ca)

    def metrics(self):
        return requests.get(f"{self.admin}/metrics", timeout=TIMEOUT).text

    def waiting(self):
        """Requests in line, all tenants together."""
        lines = [line for line in self.metrics().splitlines() if line.startswith("tollgate_queue_depth{")]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)

    def log(self):
        """One dict per request answered so far."""
        entries = []
        for line in list(self.output):
            with contextlib.suppress(json.JSONDecodeError):
                entry = json.loads(line)
                if isinstance(entry, dict):
                    entries.append(entry)
        return entries


def toml_of(tables):
    """Tables of plain values as TOML; JSON's strings, numbers, booleans and flat lists are TOML's."""
    parts = []
    for name, values in tables.items():
        if values:
            parts.append(f"[{name}]")
            parts += [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    return "\n".join(parts)


class Bot:
    """A plain `requests` client with a token and a deadline."""

    def __init__(self, base, token, ca=None):
        self.base = base
        self.token = token
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.verify = str(ca) if ca else True
        if token:
            self.session.headers["Authorization"] = f"Bearer {token}"

    def ask(self, method, url, **options):
        if url.startswith("/"):
            url = self.base + url
        options.setdefault("timeout", TIMEOUT)
        options.setdefault("allow_redirects", False)
        return self.session.request(method, url, **options)

    def get(self, url, **options):
        return self.ask("GET", url, **options)

    def head(self, url, **options):
        return self.ask("HEAD", url, **options)

    def post(self, url, **options):
        return self.ask("POST", url, **options)


def curl(*arguments, ca=None, data=None, code=0, folder=None):
    """Runs curl and returns what it wrote to stdout, as bytes."""
    command = ["curl", "--silent", "--show-error", "--noproxy", "*", "--max-time", str(TIMEOUT)]
    if ca:
        command += ["--cacert", str(ca)]
    done = subprocess.run(
        [*command, *map(str, arguments)], input=data, capture_output=True, timeout=TIMEOUT + 10, cwd=folder
    )
    if code is not None:
        assert done.returncode == code, (done.returncode, done.stderr.decode(errors="replace"), done.stdout[:2000])
    return done.stdout


def heads_of(answer):
    """What `curl -i` or `curl -I` printed: the status and the fields of its last answer, lower-case names."""
    text = answer.decode("latin-1").replace("\r\n", "\n")
    blocks = [block for block in text.split("\n\n") if block.startswith("HTTP/")]
    lines = blocks[-1].splitlines()
    fields = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        fields.setdefault(name.lower(), []).append(value.strip())
    return int(lines[0].split()[1]), fields


def assert_webex_error(answer):
    """The answer is an error of Tollgate's own, in the shape of Webex."""
    body = answer.json()
    assert body["message"]
    assert body["trackingId"]
    assert isinstance(body["errors"], list)
    assert answer.headers["TrackingID"] == body["trackingId"]
    assert answer.headers["Content-Type"].startswith("application/json")
    assert "tollgate" in answer.headers["Proxy-Status"].lower()


def wait_until(claim, seconds=10, what="it"):
    """Waits for something that another process does soon."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = claim()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"{what} did not happen within {seconds} s")
