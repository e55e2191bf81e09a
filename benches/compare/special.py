"""What is measured otherwise: idle connections, added latency, and cost as tenants and entries grow."""

import http.client
import resource
import socket
import time

import load
from checks import Unfit
from servers import PROXIES, Nginx, Tollgate, trusting
from world import HOST, JSON_BYTES

IDLE = 10_000
LATENCY_RATE = 200
TENANTS = (10, 10_000)
ENTRIES = (100, 100_000)
PERSON = "/v1/people/1"
PEOPLE = "/v1/people/NUMBER"
SMALL = "/v1/contents/small-NUMBER"


def idle(world, origin, count=IDLE):
    """Resident bytes per idle TLS connection that has had one answer, of fresh processes; by name."""
    # Tollgate keeps half of what descriptors it may have for the way to the API: one more client would wait for a place.
    count = min(count, (resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 1_000) // 2)
    found = {"connections": count}
    for make in PROXIES:
        proxy = make(world, origin)
        try:
            # What the first connections cost is not what each costs.
            for connection in _connections(world, proxy.port, 200):
                connection.close()
            time.sleep(1)
            before = proxy.memory()
            held = _connections(world, proxy.port, count)
            time.sleep(2)
            found[proxy.name] = (proxy.memory() - before) / count
            alive = [held[at] for at in range(0, count, max(1, count // 50))]
            for connection in alive:
                _ask(connection)
            for connection in held:
                connection.close()
        finally:
            proxy.stop()
    return found


def latency(world, origin, proxies, seconds):
    """Milliseconds of one request at a time, each server in turn, 200/s each: `{name: (p50, p99)}`, with the origin."""
    servers = [origin, *proxies]
    connections = {}
    for server in servers:
        host = "webexapis.com" if server is origin else HOST
        connections[server.name] = _connect(world, server.port, host)
    times = {server.name: [] for server in servers}
    next_at = time.perf_counter()
    for turn in range(LATENCY_RATE * seconds):
        order = servers[turn % len(servers):] + servers[:turn % len(servers)]
        for server in order:
            begun = time.perf_counter()
            _ask(connections[server.name])
            times[server.name].append((time.perf_counter() - begun) * 1e3)
        next_at += 1 / LATENCY_RATE
        time.sleep(max(0.0, next_at - time.perf_counter()))
    for connection in connections.values():
        connection.close()
    return {name: percentiles(sorted(seen)) for name, seen in times.items()}


def tenants(world, origin, seconds):
    """Processor microseconds of Tollgate per pass-through with so many tokens in rotation; a fresh process."""
    return _by_tenants(world, origin, Tollgate(world, origin), seconds)


def control(world, origin, seconds):
    """The same of nginx, which knows no tenants: what the load generator and the machine make of it."""
    return _by_tenants(world, origin, Nginx(world, origin), seconds)


def entries(world, origin, seconds):
    """Processor microseconds of Tollgate per hit with so many contents of 1 KiB in rotation; a fresh process.

    Proofs that last, and room for them: 100,000 contents of 1 KiB weigh 285 MB with their heads and proofs.
    """
    proxy = Tollgate(world, origin, proof_ttl="1h", memory="512MiB")

    def cost(count):
        # One client: each client of h2load begins at the first path.
        load.h2load(world, proxy.port, [SMALL.replace("NUMBER", str(number)) for number in range(count)], 1, 32,
                    count=count)
        return _cost(world, origin, proxy, seconds, paths=count)

    return _grown(proxy, ENTRIES, cost)


def _by_tenants(world, origin, proxy, seconds):

    def cost(count):
        # Each token has been seen before.
        connection = _connect(world, proxy.port, HOST)
        for token in range(count):
            _ask(connection, token)
        connection.close()
        return _cost(world, origin, proxy, seconds, tenants=count)

    return _grown(proxy, TENANTS, cost)


def _grown(proxy, counts, cost):
    try:
        return {count: cost(count) for count in counts}
    finally:
        proxy.stop()


def _cost(world, origin, proxy, seconds, tenants=None, paths=None):
    """Microseconds per request: of passes by so many tenants, or of hits on so many paths."""
    asked, before = origin.requests(), proxy.cpu()
    # As many different requests, however few of them differ in what counts: the generator is to work alike, and of
    # equal GETs that meet, Tollgate sends one.
    if tenants:
        seen = load.wrk(world, proxy.port, seconds, PEOPLE, 64, tenants=tenants, paths=TENANTS[1], rotation=TENANTS[1])
    else:
        seen = load.wrk(world, proxy.port, seconds, SMALL, 64, paths=paths, rotation=ENTRIES[1])
    cost = proxy.cpu().since(before) / max(1, seen.requests)
    moved = origin.requests() - asked - 1
    if seen.fault or (moved < seen.requests if tenants else moved):
        raise Unfit(f"{seen.fault} {seen.requests} requests, {moved} to the origin")
    return cost


def percentiles(seen):
    """The middle and the worst of a hundred, of sorted figures."""
    return load.percentile(seen, 50), load.percentile(seen, 99)


def _connections(world, port, count):
    return [_connect(world, port, HOST) for _ in range(count)]


def _connect(world, port, host):
    """TLS, and one answer taken."""
    context = CONTEXTS.setdefault(world.folder, trusting(world))
    plain = socket.create_connection(("127.0.0.1", port), timeout=30)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection = context.wrap_socket(plain, server_hostname=host)
    _ask(connection)
    return connection


def _ask(connection, token=0):
    """One request and its whole answer."""
    connection.sendall(REQUEST % token)
    seen = b""
    while not _is_whole(seen):
        part = connection.recv(16_384)
        if not part:
            raise http.client.RemoteDisconnected(f"after {len(seen)} bytes")
        seen += part
    if not seen.startswith(b"HTTP/1.1 200"):
        raise Unfit(f"not a 200: {seen[:100]}")


def _is_whole(seen):
    """Of an answer with a length, or in chunks."""
    head, _end, body = seen.partition(b"\r\n\r\n")
    if b"chunked" in head.lower():
        return body.endswith(b"\r\n0\r\n\r\n")
    return len(body) >= JSON_BYTES


CONTEXTS = {}
REQUEST = f"GET {PERSON} HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer compare-token-%d\r\n\r\n".encode()
