"""The load generators: each drives one proxy for a while and tells what came back."""

import concurrent.futures
import dataclasses
import json
import re
import socket
import subprocess
import time

from checks import Unfit
from servers import trusting
from world import HERE, HOST, pinned


@dataclasses.dataclass
class Load:
    """What one run of a generator saw. `fault` is empty if every answer was a 2xx."""

    requests: int
    seconds: float
    p50_ms: float | None
    p99_ms: float | None
    fault: str = ""
    times: list[float] = dataclasses.field(default_factory=list, repr=False)


def wrk(world, port, seconds, path, connections, method="GET", tenants=1, paths=1, rotation=1, body=None):
    """HTTP/1.1 with keep-alive, for so many seconds."""
    arguments = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s", "--latency",
                 "-s", HERE / "templates/load.lua", f"https://{HOST}:{port}{path}", "--",
                 method, tenants, paths, rotation]
    said = _run(world, [*arguments, *([body] if body else [])], seconds)
    seen = json.loads(said.splitlines()[-1])
    faults = {word: seen[word] for word in ("status", "broken", "late") if seen[word]}
    fault = f"wrk: {faults}" if faults else ""
    return Load(seen["requests"], seen["seconds"], seen["p50_ms"], seen["p99_ms"], fault)


def h2load(world, port, paths, clients, streams=1, seconds=None, count=None, method="GET", h1=False, body=None,
           token=0):
    """HTTP/2 (or 1.1) for so many seconds, or exactly so many requests."""
    log = world.folder / f"h2load-{token}.log"
    log.unlink(missing_ok=True)
    urls = world.folder / f"urls-{token}"
    urls.write_text("".join(f"https://{HOST}:{port}{path}\n" for path in paths))
    arguments = ["h2load", f"-c{clients}", f"-m{streams}", "-t1", f"--connect-to=127.0.0.1:{port}", "-i", urls,
                 f"--log-file={log}", "-H", f"Authorization: Bearer compare-token-{token}"]
    arguments += [f"-D{seconds}"] if count is None else [f"-n{count}"]
    if method != "GET":
        arguments += ["-H", f":method: {method}"]
    if h1:
        arguments.append("--h1")
    if body:
        arguments += ["-d", body, "-H", "Content-Type: application/octet-stream"]
    said = _run(world, arguments, seconds or 600)
    total, _started, done, good, *bad = map(int, re.search(H2LOAD_REQUESTS, said).groups())
    ok, *other = map(int, re.search(H2LOAD_STATUS, said).groups())
    fault = "" if not any(bad) and not any(other) and ok and done == (count or done) else f"h2load: {said[-700:]}"
    protocol = "http/1.1" if h1 else "h2"
    if f"Application protocol: {protocol}" not in said or "TLS Protocol: TLSv1.3" not in said:
        fault = f"h2load: not {protocol} over TLS 1.3: {said[:400]}"
    lines = [line.split("\t") for line in log.read_text().splitlines()]
    times = sorted(int(line[2]) / 1e3 for line in lines if len(line) >= 3)
    lasted = re.search(r"finished in ([0-9.]+)(us|ms|s)", said)
    took = float(lasted[1]) * {"us": 1e-6, "ms": 1e-3, "s": 1}[lasted[2]]
    return Load(ok, took, percentile(times, 50), percentile(times, 99), fault, times)


def h2load_apart(world, port, path, clients, streams, seconds):
    """HTTP/2 with no two equal requests at a time: so many clients of a token each, through many paths."""
    paths = [path.replace("NUMBER", str(number)) for number in range(ROTATION)]
    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        seen = list(pool.map(
            lambda token: h2load(world, port, paths, 1, streams, seconds=seconds, token=token), range(clients)))
    times = sorted(time_ for one in seen for time_ in one.times)
    fault = next((one.fault for one in seen if one.fault), "")
    return Load(sum(one.requests for one in seen), max(one.seconds for one in seen), percentile(times, 50),
                percentile(times, 99), fault)


def handshakes(world, port, seconds):
    """Full TLS 1.3 handshakes, four clients at once; how sound they are is seen by those that are timed."""
    command = ["openssl", "s_time", "-connect", f"127.0.0.1:{port}", "-new", "-tls1_3", "-time", str(seconds)]
    begun = time.perf_counter()
    children = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                         preexec_fn=pinned(world.load_core))
        for _ in range(HANDSHAKING)
    ]
    made, fault = 0, ""
    for child in children:
        said = child.communicate(timeout=seconds + 60)[0]
        figures = re.search(r"(\d+) connections in (\d+) real seconds", said)
        if child.returncode or not figures:
            fault = f"s_time: {said[-300:]}"
        else:
            made += int(figures[1])
    # It looks at whole seconds of the clock, so the time that it took is measured here.
    return Load(made, time.perf_counter() - begun, None, None, fault)


def handshake_times(world, port, count):
    """Milliseconds of full handshakes one after another, sorted."""
    context, times = trusting(world), []
    for _ in range(count):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as plain:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            begun = time.perf_counter()
            with context.wrap_socket(plain, server_hostname=HOST) as tls:
                times.append((time.perf_counter() - begun) * 1e3)
                if tls.version() != "TLSv1.3" or tls.session_reused:
                    raise Unfit(f"not a full handshake of TLS 1.3: {tls.version()}")
    return sorted(times)


def percentile(times, percent):
    """Of sorted figures; none of none."""
    return times[min(len(times) - 1, len(times) * percent // 100)] if times else None


def _run(world, arguments, seconds):
    done = subprocess.run([str(part) for part in arguments], capture_output=True, text=True, timeout=seconds + 120,
                          preexec_fn=pinned(world.load_core), cwd=world.folder)
    if done.returncode:
        raise Unfit(f"{arguments[0]} failed: {done.stdout[-1000:]} {done.stderr[-1000:]}")
    return done.stdout


HANDSHAKING = 4
ROTATION = 1_000
H2LOAD_REQUESTS = (
    r"requests: (\d+) total, (\d+) started, (\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout"
)
H2LOAD_STATUS = r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx"
