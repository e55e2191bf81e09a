"""Configuration and state that no person wrote: too long, too deep, no text, no file. Told at once, in little memory."""

import hashlib
import os
import pathlib
import resource
import shutil
import signal
import socket
import subprocess
import time

import pytest

from machine import MIB
from world import BINARY, Proxy, toml_of, wait_until

ME = "/v1/people/me"
# What a command may allocate at all; a process that runs has some more for its threads.
DATA = 96 * MIB
MEMORY = 120 * MIB


def huge(path):
    with path.open("wb") as file:
        file.truncate(100_000_000)


def comment(path):
    path.write_text("# " + "x" * 100_000_000 + "\n")


def text(content):
    return lambda path: path.write_bytes(content)


POISON = {
    "a sparse file of 100 MB": (huge, "longer than 1048576 bytes"),
    "a comment of 100 MB": (comment, "longer than 1048576 bytes"),
    "deep arrays": (text(b"[gate]\nrate = " + b"[" * 500_000), "1:1|2:"),
    "deep tables": (text(b"[" + b"a." * 100_000 + b"a]\n"), ":1:"),
    "deep inline tables": (text(b"a = " + b"{a=" * 100_000), ":1:"),
    "many keys": (text(b"\n".join(b"key%d = 1" % n for n in range(80_000))), "more faults"),
    "many tenants": (text(b'[[tenant]]\nname = "a"\n' * 30_000), "200"),
    "one long key": (text(b"a" * 1_000_000 + b" = 1\n"), ":1:"),
    "one long value": (text(b'[gate]\nmax_wait = "' + b"9" * 1_000_000 + b's"\n'), "gate.max_wait"),
    "nul bytes": (text(b"[gate]\nmax_wait = \0\0\0\n"), ":2:"),
    "nothing but nul bytes": (text(b"\0" * 100_000), ":1:"),
    "not utf-8": (text(b'[gate]\nmax_wait = "\xff\xfe"\n'), ":2:13: not UTF-8"),
    "utf-16": (text("[gate]\nmax_wait = '9s'\n".encode("utf-16")), "not UTF-8"),
    "a directory": (pathlib.Path.mkdir, "directory"),
    "a pipe": (os.mkfifo, "pipe"),
    "nothing": (lambda path: None, "No such file"),
    "a link to itself": (lambda path: path.symlink_to(path), "symbolic links"),
}


def little_memory():
    resource.setrlimit(resource.RLIMIT_DATA, (DATA, DATA))


def check(*arguments):
    """What a command with little memory says to its arguments, its code, and how long it took."""
    began = time.monotonic()
    child = subprocess.Popen(
        [BINARY, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        preexec_fn=little_memory,
        env={"PATH": "/usr/bin:/bin"},
    )
    _, said = child.communicate(timeout=60)
    return said.decode(), child.returncode, time.monotonic() - began


@pytest.mark.parametrize("name", POISON)
def test_a_poisoned_file_is_told_with_its_place(tmp_path, name):
    poison, told = POISON[name]
    path = tmp_path / "tollgate.toml"
    poison(path)
    said, code, took = check("check", "--config", path)
    assert code == 2, said[:2000]
    assert any(part in said for part in told.split("|")), said[:2000]
    assert "tollgate.toml" in said and "panicked" not in said
    assert len(said) < 200_000
    assert took < 10


@pytest.fixture(scope="module")
def running(shared_sim, folder):
    tables = {"reload": {"poll": "100ms"}, "upstream": {"connect": [shared_sim.https_address]}}
    proxy = Proxy(folder("poisoned"), shared_sim.https_address, shared_sim.ca, tables=tables)
    yield proxy
    proxy.stop()


@pytest.mark.parametrize("name", ["a sparse file of 100 MB", "deep arrays", "not utf-8", "a directory", "a pipe", "nothing"])
def test_a_process_that_runs_keeps_what_it_has(running, sim, token, name):
    sim.person(token)
    path = running.folder / "tollgate.toml"
    good = path.read_text()
    poison, _ = POISON[name]
    path.unlink()
    try:
        poison(path)
        running.child.send_signal(signal.SIGHUP)
        running.wait_for_line("configuration not reloaded")
        assert running.bot(token).get(ME).status_code == 200
        assert "tollgate_config_last_reload_successful 0" in running.metrics()
        assert running.memory_peak() < MEMORY
    finally:
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
        path.write_text(good)
    wait_until(lambda: "tollgate_config_last_reload_successful 1" in running.metrics(), what="the old settings")


STATE = {
    "tenant.key": ["short", "huge", "pipe", "directory"],
    "admin-token": ["short", "huge", "pipe", "directory", "binary"],
    "ca.pem": ["huge", "pipe", "directory"],
    "ca.key": ["huge", "pipe"],
}


def spoil(path, how):
    path.unlink(missing_ok=True)
    {
        "short": lambda: path.write_bytes(b"x"),
        "huge": lambda: huge(path),
        "pipe": lambda: os.mkfifo(path),
        "directory": lambda: path.mkdir(),
        "binary": lambda: path.write_bytes(bytes(range(256))),
        "socket": lambda: socket.socket(socket.AF_UNIX).bind(str(path)),
    }[how]()


@pytest.fixture(scope="module")
def used_state(folder):
    """A state directory as a first start leaves it, and a configuration that needs nothing else."""
    proxy = Proxy(folder("used"), "127.0.0.1:9", None)
    proxy.stop()
    return proxy


@pytest.mark.parametrize("name, how", [(name, how) for name, ways in STATE.items() for how in ways])
def test_a_state_file_that_cannot_be_ours_is_named_at_the_start(used_state, tmp_path, name, how):
    state = tmp_path / "state"
    shutil.copytree(used_state.state, state)
    spoil(state / name, how)
    arguments = ["run", "--config", used_state.folder / "tollgate.toml", "--state-dir", state]
    said, code, took = check(*arguments, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
    assert code == 1 and name in said, said[:2000]
    assert "panicked" not in said
    assert took < 10


@pytest.mark.parametrize("how", ["short", "huge", "pipe", "directory", "binary", "socket"])
def test_what_the_gate_learned_is_ignored_if_it_cannot_be_ours(used_state, tmp_path, how):
    state = tmp_path / "s" / "state"
    shutil.copytree(used_state.state, state)
    here = os.getcwd()
    os.chdir(state)  # The name of a socket has little room.
    try:
        spoil(pathlib.Path("gates.json"), how)
    finally:
        os.chdir(here)
    proxy = Proxy(tmp_path / "s", "127.0.0.1:9", None)
    try:
        told = [line for line in proxy.log() if line.get("message") == "learned limits ignored"]
        assert len(told) == 1 and told[0]["file"].endswith("gates.json")
        assert proxy.memory_peak() < MEMORY
    finally:
        assert proxy.stop() == 0


@pytest.mark.parametrize("how", ["huge", "pipe", "directory", "short", "binary"])
@pytest.mark.parametrize("key", ["token_files", "ca_file", "cert_file"])
def test_files_that_the_configuration_names_are_read_with_the_same_care(tmp_path, key, how):
    path = tmp_path / "named"
    spoil(path, how)
    if (key, how) == ("token_files", "short"):
        pytest.skip("one character is a token")
    tables = {
        "token_files": "",
        "ca_file": toml_of({"upstream": {"ca_file": str(path)}}),
        "cert_file": toml_of({"listen.tls": {"cert_file": str(path), "key_file": str(path)}}),
    }
    config = tables[key] or f'[[tenant]]\nname = "a"\ntoken_files = ["{path}"]\n'
    (tmp_path / "tollgate.toml").write_text(config)
    arguments = ["run", "--config", tmp_path / "tollgate.toml", "--state-dir", tmp_path / "state"]
    said, code, took = check(*arguments, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
    assert code == 1 and str(path) in said, said[:2000]
    assert "panicked" not in said and hashlib.sha256(b"x").hexdigest() not in said
    assert took < 10
