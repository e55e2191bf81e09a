"""SIGHUP and changed files: new settings and certificates are in force, and nobody in line notices."""

import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
import signal
import ssl
import subprocess
import threading
import time

import pytest
import requests

from raw import connect, read_to_end, seconds_until_closed
from world import BINARY, Bot, toml_of, wait_until

ME = "/v1/people/me"
RELOADED = "tollgate_config_last_reload_successful"


def reload(proxy, text, line="configuration reloaded"):
    """Writes the file anew and waits for what the proxy says to it."""
    (proxy.folder / "tollgate.toml").write_text(text)
    proxy.child.send_signal(signal.SIGHUP)
    return proxy.wait_for_line(line)


@pytest.fixture
def world(pair, token):
    """A simulator, a proxy, and what makes the text of its configuration."""
    sim, proxy = pair()
    sim.person(token)

    def text(tenants="", **tables):
        plain = {"shutdown": {"delay": "0s", "drain": "2s"}, "upstream": {"connect": [sim.https_address]}}
        return toml_of(plain | tables) + "\n" + tenants

    return sim, proxy, text


def tenant(name, token, **more):
    rest = toml_of({"x": more}).removeprefix("[x]") if more else ""
    return f'[[tenant]]\nname = "{name}"\ntoken_sha256 = ["{hashlib.sha256(token.encode()).hexdigest()}"]{rest}\n'


def test_who_waits_is_answered_and_who_comes_finds_the_new_rules(world, token):
    sim, proxy, text = world
    sim.force("GET", ME, 429, headers={"Retry-After": "3"})
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiter = pool.submit(proxy.bot(token).get, ME)
        wait_until(lambda: sim.count("GET", ME) == 1, what="the refusal")
        assert proxy.bot(token).get(ME, headers={"Prefer": "wait=0"}).status_code == 429
        reload(proxy, text(gate={"max_wait": "1s"}))
        # The gate is still closed: what it learned has stayed, and the new patience is too short for it.
        # Another question, or it would wait for the answer to the first one.
        refused = proxy.bot(token).get(f"{ME}?another")
        assert refused.status_code == 429
        assert refused.elapsed.total_seconds() < 1
        assert waiter.result().status_code == 200
    assert sim.statuses("GET", ME) == [429, 200]
    assert f"{RELOADED} 1" in proxy.metrics()


def test_new_tenants_and_who_is_admitted_hold_at_once(world, token):
    sim, proxy, text = world
    sim.person(f"{token}-stranger")
    for one in [token, f"{token}-stranger"]:
        assert proxy.bot(one).get(ME).status_code == 200
    reload(proxy, text(tenant("alerts", token, weight=3), gate={"admit": "listed"}))
    assert proxy.bot(token).get(ME).status_code == 200
    assert proxy.bot(f"{token}-stranger").get(ME).status_code == 403
    assert 'tenant="alerts"' in proxy.metrics()
    reload(proxy, text())
    assert proxy.bot(f"{token}-stranger").get(ME).status_code == 200


@pytest.mark.parametrize(
    "fault", ["[gate", '[gate]\nmax_wait = "soon"\n', '[[tenant]]\nname = "a"\ntoken_files = ["/nowhere"]\n']
)
def test_a_broken_file_changes_nothing(world, token, fault):
    sim, proxy, text = world
    reload(proxy, text(tenant("alerts", token), gate={"admit": "listed"}))
    line = reload(proxy, text() + fault, "configuration not reloaded")
    assert '"level":"ERROR"' in line
    assert f"{RELOADED} 0" in proxy.metrics()
    assert proxy.bot(token).get(ME).status_code == 200
    assert proxy.bot(f"{token}-stranger").get(ME).status_code == 403
    reload(proxy, text())
    assert f"{RELOADED} 1" in proxy.metrics()
    sim.person(f"{token}-stranger")
    assert proxy.bot(f"{token}-stranger").get(ME).status_code == 200


def test_what_needs_a_restart_is_named(world, token):
    _, proxy, text = world
    changed = text(log={"format": "text"}, gate={"max_wait": "9s"}, cache={"proof_ttl": "9s"})
    line = reload(proxy, changed, "configuration reloaded in part")
    assert '"needs_restart":"cache.proof_ttl, log.format"' in line and '"level":"WARN"' in line
    assert '"changed":"gate.max_wait"' in line
    assert proxy.bot(token).get(ME).status_code == 200


def asked_in_vain(proxy, token):
    """Whether a request leaves no line."""
    before = len(proxy.log())
    proxy.bot(token).get(ME)
    time.sleep(0.2)
    return len(proxy.log()) == before


def test_the_log_level_changes_at_once(world, token):
    _, proxy, text = world
    (proxy.folder / "tollgate.toml").write_text(text(log={"level": "warn"}))
    proxy.child.send_signal(signal.SIGHUP)
    wait_until(lambda: asked_in_vain(proxy, token), what="silence")
    before = len(proxy.log())
    (proxy.folder / "tollgate.toml").write_text(text())
    proxy.child.send_signal(signal.SIGHUP)
    proxy.wait_for_line("configuration reloaded")
    proxy.bot(token).get(ME)
    wait_until(lambda: any(entry.get("http.path") == ME for entry in proxy.log()[before:]), what="the line")


def test_limits_hold_for_connections_that_come_later(world, token):
    _, proxy, text = world
    with connect(proxy.http_port) as old:
        old.sendall(f"GET {ME} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert old.recv(65536).startswith(b"HTTP/1.1 401")
        reload(proxy, text(limits={"idle_timeout": "200ms", "header_timeout": "200ms"}))
        took, _ = seconds_until_closed(connect(proxy.http_port))
        assert took < 2
        old.sendall(f"GET {ME} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        assert read_to_end(old).startswith(b"HTTP/1.1 401")


POLLED = {"reload": {"poll": "100ms"}}


def test_a_changed_file_is_taken_without_an_order(pair, token):
    sim, proxy = pair(tables=POLLED)
    sim.person(token)
    assert proxy.bot(token).get(ME).status_code == 200
    path = proxy.folder / "tollgate.toml"
    plain = path.read_text()
    path.write_text(plain + "\n[gate]\nadmit = 'listed'\n")
    line = proxy.wait_for_line('"changed":"gate.admit"')
    assert '"trigger":"poll"' in line
    assert proxy.bot(token).get(ME).status_code == 403
    path.write_text(plain + "\n[gate\n")
    assert "tollgate.toml:" in proxy.wait_for_line("configuration not reloaded")
    wait_until(lambda: f"{RELOADED} 0" in proxy.metrics(), what="the metric")
    time.sleep(1)
    assert len([line for line in proxy.output if "not reloaded" in line]) == 1, "a fault is told once"
    path.write_text(plain)
    proxy.wait_for_line("configuration reloaded")
    assert f"{RELOADED} 1" in proxy.metrics()
    assert re.search(r"^tollgate_config_last_reload_success_timestamp_seconds 1\d+", proxy.metrics(), re.M)
    assert proxy.bot(token).get(ME).status_code == 200


def test_the_kubelets_way_to_change_a_file_is_seen(pair, folder, token):
    """A ConfigMap and a Secret: links into ..data, itself a link, which is exchanged."""
    mount = folder("mount")
    versions = iter(range(100))

    def publish(**files):
        version = mount / f"..v{next(versions)}"
        version.mkdir()
        for name, text in files.items():
            (version / name).write_text(text)
            if not (mount / name).is_symlink():
                (mount / name).symlink_to(f"..data/{name}")
        (mount / "..new").symlink_to(version.name)
        os.replace(mount / "..new", mount / "..data")

    publish(token=token)
    config = f'[[tenant]]\nname = "alerts"\ntoken_files = ["{mount}/token"]\n'
    sim, proxy = pair(config=config, tables=POLLED | {"gate": {"admit": "listed"}})
    sim.person(token)
    sim.person(f"{token}-new")
    assert proxy.bot(token).get(ME).status_code == 200
    assert proxy.bot(f"{token}-new").get(ME).status_code == 403
    publish(token=f"{token}-new\n")
    proxy.wait_for_line('"changed":"tenant.token_files"')
    assert proxy.bot(f"{token}-new").get(ME).status_code == 200
    assert proxy.bot(token).get(ME).status_code == 403
    publish(token=" \n")
    assert "holds no token" in proxy.wait_for_line("configuration not reloaded")
    assert proxy.bot(f"{token}-new").get(ME).status_code == 200


@pytest.fixture
def certificates(folder):
    """Makes certificates and keys in a folder; serial numbers tell them apart."""
    home = folder("certificates")

    def make(name, days=30, since="now", ca=False):
        key = home / f"{name}.key"
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        command += ["-keyout", key, "-out", home / f"{name}.pem", "-days", str(days), "-subj", f"/CN={name}"]
        command += ["-addext", "subjectAltName=DNS:localhost"]
        if not ca:
            command += ["-addext", "basicConstraints=critical,CA:FALSE"]
        subprocess.run(command, check=True, capture_output=True, timeout=30)
        return home / f"{name}.pem", key

    return make


def dated(folder, name, begin, end):
    """A certificate with these dates, which `req -x509` of an older openssl cannot set."""
    (folder / "index.txt").write_text("")
    (folder / "serial").write_text("01\n")
    (folder / "ca.cnf").write_text(
        f"[ca]\ndefault_ca = d\n[d]\ndir = {folder}\ndatabase = {folder}/index.txt\nnew_certs_dir = {folder}\n"
        f"serial = {folder}/serial\ndefault_md = sha256\npolicy = p\nunique_subject = no\n[p]\ncommonName = supplied\n"
        "[e]\nsubjectAltName = DNS:localhost\nbasicConstraints = critical,CA:FALSE\n"
    )
    key, request, certificate = (folder / f"{name}.{ending}" for ending in ["key", "csr", "pem"])
    new = ["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}"]
    subprocess.run([*new, "-keyout", key, "-out", request], check=True, capture_output=True, timeout=30)
    sign = ["openssl", "ca", "-config", folder / "ca.cnf", "-batch", "-selfsign", "-keyfile", key, "-in", request]
    sign += ["-extensions", "e", "-startdate", begin, "-enddate", end, "-notext", "-out", certificate]
    subprocess.run(sign, check=True, capture_output=True, timeout=30)
    return certificate, key


def shown(proxy):
    """The certificate that a new connection gets, as PEM."""
    return ssl.get_server_certificate(("127.0.0.1", proxy.https_port), timeout=10)


def expires_of(proxy):
    return float(re.search(r"^tollgate_tls_certificate_not_after_timestamp_seconds (\S+)", proxy.metrics(), re.M)[1])


def pem(path):
    return ssl.DER_cert_to_PEM_cert(ssl.PEM_cert_to_DER_cert(path.read_text()))


def test_new_certificates_are_shown_and_open_connections_stay(pair, certificates, token):
    cert, key = certificates("one")
    tls = {"listen.tls": {"cert_file": str(cert), "key_file": str(key)}}
    sim, proxy = pair(tables=POLLED | tls)
    sim.person(token)
    first = pem(cert)
    assert shown(proxy) == first
    expires = expires_of(proxy)
    old = cert.with_suffix(".kept")
    old.write_text(cert.read_text())
    kept = Bot(proxy.base, token, old)
    assert kept.get(ME).status_code == 200
    new, new_key = certificates("two", days=60)
    # As certbot does it: one file after the other; the pair is taken when it is one again.
    os.replace(new, cert)
    time.sleep(0.3)
    os.replace(new_key, key)
    wait_until(lambda: shown(proxy) != first, what="the new certificate")
    assert shown(proxy) == pem(cert)
    # This one trusts the old certificate alone: only its old connection can answer.
    assert kept.get(ME).status_code == 200
    assert Bot(proxy.base, token, cert).get(ME).status_code == 200
    wait_until(lambda: f"{RELOADED} 1" in proxy.metrics(), what="the metric")
    assert expires_of(proxy) > expires + 20 * 86400


def faulty(kind, cert, key, certificates):
    """Makes the pair useless, and says what must be told of it."""
    if kind == "unreadable":
        cert.unlink()
        return [str(cert), "cannot read"]
    if kind == "no certificate":
        cert.write_text("hello")
        return [str(cert), "not PEM"]
    if kind == "key of another":
        _, other = certificates("other")
        os.replace(other, key)
        return [str(cert), str(key), "does not belong"]
    begin, end, word = {
        "expired": ("20200101000000Z", "20210101000000Z", "expired on"),
        "not yet valid": ("20900101000000Z", "20910101000000Z", "not valid before"),
    }[kind]
    made = dated(cert.parent, "dated", begin, end)
    os.replace(made[0], cert)
    os.replace(made[1], key)
    return [str(cert), word]


FAULTS = ["unreadable", "no certificate", "key of another", "expired", "not yet valid"]


@pytest.mark.parametrize("kind", FAULTS)
def test_a_certificate_that_cannot_serve_changes_nothing(pair, certificates, token, kind):
    cert, key = certificates("one")
    tls = {"listen.tls": {"cert_file": str(cert), "key_file": str(key)}}
    sim, proxy = pair(tables=tls)
    sim.person(token)
    first = shown(proxy)
    words = faulty(kind, cert, key, certificates)
    path = proxy.folder / "tollgate.toml"
    line = reload(proxy, path.read_text() + "\n[gate]\nadmit = 'listed'\n", "configuration not reloaded")
    assert all(word in line for word in words), line
    assert shown(proxy) == first
    assert f"{RELOADED} 0" in proxy.metrics()
    answer = requests.get(proxy.plain + ME, headers={"Authorization": f"Bearer {token}"}, timeout=10)
    assert answer.status_code == 200, "half of the new configuration is in force"


@pytest.mark.parametrize("kind", FAULTS)
def test_a_certificate_that_cannot_serve_keeps_the_process_from_starting(certificates, tmp_path, kind):
    cert, key = certificates("one")
    words = faulty(kind, cert, key, certificates)
    path = tmp_path / "tollgate.toml"
    path.write_text(toml_of({"listen.tls": {"cert_file": str(cert), "key_file": str(key)}}))
    command = [BINARY, "run", "--config", path, "--state-dir", tmp_path / "state"]
    done = subprocess.run([*command, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"], capture_output=True, timeout=20)
    assert done.returncode == 1
    assert all(word in done.stderr.decode() for word in words), done.stderr


def test_twenty_reloads_cost_no_request_no_place_in_line_and_nothing_kept(pair, token):
    """Keep-alive connections of HTTP/1.1, many streams on one of HTTP/2, and waiters, while everything is reloaded."""
    sim, proxy = pair(tables={"gate": {"start_rate": 100_000, "burst": 100_000}})
    bots = [f"{token}-{number}" for number in range(6)]
    [sim.person(bot) for bot in [token, *bots]]
    room = sim.room(token)
    content = sim.upload(token, room, "example.png", "image/png", 50_000)
    assert proxy.bot(token).get(content).status_code == 200
    path = proxy.folder / "tollgate.toml"
    plain = path.read_text()
    done, statuses = threading.Event(), []

    def keep_asking(name):
        bot = proxy.bot(name)
        while not done.is_set():
            statuses.append(bot.get(ME).status_code)

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        # The gate of one tenant is closed for a while: those stand in line through all of it.
        asking = [pool.submit(keep_asking, bot) for bot in bots]
        streams = pool.submit(ask_over_h2, proxy, bots[0], done)
        wait_until(lambda: len(statuses) > 20, what="traffic")
        sim.force("GET", "/v1/teams", 429, headers={"Retry-After": "4"})
        waiter = pool.submit(proxy.bot(token).get, "/v1/teams")
        wait_until(lambda: sim.count("GET", "/v1/teams") == 1, what="the refusal")
        before = len([line for line in proxy.output if "configuration reloaded" in line])
        for number in range(20):
            text = plain + f'\n[log]\nlevel = "{["info", "debug"][number % 2]}"\n[limits]\nstreams = {50 + number}\n'
            text += tenant(f"t{number}", bots[0], weight=1 + number % 3)
            path.write_text(text)
            proxy.child.send_signal(signal.SIGHUP)
            wait_until(
                lambda: len([x for x in proxy.output if "configuration reloaded" in x]) > before + number,
                what=f"reload {number}",
            )
        assert waiter.result().status_code == 200
        wait_until(lambda: len(statuses) > 200, what="traffic")
        done.set()
        [job.result() for job in asking]
        answered, failed = streams.result()
    print(f"{len(statuses)} requests over HTTP/1.1, {answered} over HTTP/2, 20 reloads")
    assert set(statuses) == {200}
    assert answered > 20 and not failed
    hit = proxy.bot(token).get(content)
    assert hit.status_code == 200 and "hit" in hit.headers["Cache-Status"]
    assert sim.count("GET", content) == 1
    assert f"{RELOADED} 1" in proxy.metrics()


def ask_over_h2(proxy, token, done):
    """Node's own client: one connection, streams one after the other and three at a time."""
    script = pathlib.Path(__file__).with_name("streams.mjs")
    child = subprocess.Popen(
        ["node", script, proxy.base, ME, token, "3"],
        env={"NODE_EXTRA_CA_CERTS": str(proxy.ca), "PATH": os.environ["PATH"]},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    done.wait(60)
    out, _ = child.communicate("", timeout=30)
    told = json.loads(out)
    assert told["connections"] == 1, told
    return told["statuses"].get("200", 0), {k: v for k, v in told["statuses"].items() if k != "200"}
