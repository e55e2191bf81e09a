"""Fixtures: one simulator and one proxy per module, put back to their first state before each test."""

import itertools
import socket

import pytest

from abuse import Field, Neighbour
from sim import OURS, Sim
from world import BINARY, Bot, Proxy

_REAL_LOOKUP = socket.getaddrinfo
_REAL_CONNECT = socket.socket.connect
_strangers = []
_names = itertools.count(1)


def _is_local(host):
    if isinstance(host, bytes):
        host = host.decode("ascii", errors="replace")
    return host in (None, "", "localhost", "::1", "0.0.0.0") or host.startswith("127.")


def _guarded_lookup(host, *arguments, **options):
    if not _is_local(host):
        _strangers.append(host)
        raise OSError(f"the tests contact loopback alone, not {host}")
    return _REAL_LOOKUP(host, *arguments, **options)


def _guarded_connect(self, address):
    if self.family in (socket.AF_INET, socket.AF_INET6) and not _is_local(address[0]):
        _strangers.append(address[0])
        raise OSError(f"the tests contact loopback alone, not {address[0]}")
    return _REAL_CONNECT(self, address)


@pytest.fixture(autouse=True)
def nothing_but_loopback(monkeypatch):
    """A client that leaves the proxy fails its test, even where it swallows the error."""
    _strangers.clear()
    monkeypatch.setattr(socket, "getaddrinfo", _guarded_lookup)
    monkeypatch.setattr(socket.socket, "connect", _guarded_connect)
    yield _strangers
    assert not _strangers, f"contacted past the proxy: {_strangers}"


def pytest_sessionstart(session):
    if not BINARY.exists() and not session.config.option.collectonly:
        pytest.exit(f"{BINARY} is missing: run cargo build first", returncode=3)


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Hands out fresh folders."""
    return lambda name: tmp_path_factory.mktemp(name)


@pytest.fixture(scope="module")
def shared_sim(folder):
    """The simulator of the module, without limits."""
    sim = Sim(folder("sim"))
    yield sim
    sim.stop()


@pytest.fixture(scope="module")
def shared_proxy(shared_sim, folder):
    """The proxy of the module, in front of its simulator."""
    # Tests of one module share what the gate learns: it starts so high that a few halvings are not felt.
    tables = {"gate": {"start_rate": 1_000_000}}
    proxy = Proxy(folder("proxy"), shared_sim.https_address, shared_sim.ca, tables=tables)
    yield proxy
    proxy.stop()


@pytest.fixture
def sim(shared_sim):
    shared_sim.reset()
    return shared_sim


@pytest.fixture
def proxy(sim, shared_proxy):
    return shared_proxy


@pytest.fixture
def pair(folder):
    """Starts a simulator and a proxy with settings of their own; both end with the test."""
    started = []

    def start(sim_flags=(), sim=None, **options):
        if sim is None:
            sim = Sim(folder("sim"), *sim_flags)
            started.append(sim)
        options.setdefault("connect", sim.https_address)
        options.setdefault("upstream_ca", sim.ca)
        proxy = Proxy(folder("proxy"), **options)
        started.append(proxy)
        return sim, proxy

    yield start
    for process in reversed(started):
        process.stop()


@pytest.fixture
def token():
    """A bearer token that no other test uses."""
    return f"tok-{next(_names)}"


@pytest.fixture
def bot(proxy, token):
    """A plain client of the proxy."""
    return proxy.bot(token)


@pytest.fixture
def direct(sim, token):
    """The same client, straight to the simulator."""
    bot = Bot(sim.http, token)
    bot.session.headers.update(OURS)
    return bot


@pytest.fixture(scope="module")
def field(shared_sim, folder, request):
    """A proxy whose patience is short, with a neighbour who works through all that is done to it."""
    patience = {name: "1s" for name in ("header_timeout", "body_idle_timeout", "write_stall_timeout")}
    tables = {"gate": {"start_rate": 1_000_000}, "limits": patience | {"handshake_timeout": "2s", "idle_timeout": "3s"}}
    shared_sim.person("neighbour")
    shared_sim.person("attacker")
    content = shared_sim.upload("neighbour", shared_sim.room("neighbour"), "logo.png", "image/png", 20_000)
    proxy = Proxy(folder("field"), shared_sim.https_address, shared_sim.ca, tables=tables)
    neighbour = Neighbour(proxy, "neighbour", content)
    field = Field(shared_sim, proxy, neighbour)
    yield field
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print(field.table())
    neighbour.stop()
    proxy.stop()
