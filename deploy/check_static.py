"""Runs a static tollgate in an empty root, in a network of its own. Called by check-static.sh.

The empty root holds what the image holds: the binary, its configuration, a CA bundle, two directories, and of all that
a container runtime adds only resolv.conf, /dev/random and /dev/urandom: a static binary takes its random bytes there.
The bundle's only CA is the simulator's, and the name webexapis.com is answered by a name server here: so the binary must
find the bundle, ask the name server and verify the certificate.
"""

import fcntl
import json
import os
import pathlib
import shutil
import signal
import socket
import ssl
import stat
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

DEPLOY = pathlib.Path(__file__).resolve().parent
USER = 65532
API = "webexapis.com"
PATIENCE = 20


def raise_loopback():
    """A new network namespace starts with its loopback down."""
    get, put, up = 0x8913, 0x8914, 0x1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        flags = struct.unpack("16sH22x", fcntl.ioctl(handle, get, struct.pack("16sH22x", b"lo", 0)))[1]
        fcntl.ioctl(handle, put, struct.pack("16sH22x", b"lo", flags | up))


def answer_names(asked):
    """A name server that knows one IPv4 address of one name."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 53))

    def serve():
        while True:
            query, client = server.recvfrom(512)
            end = query.index(b"\0", 12) + 5
            labels, at = [], 12
            while query[at]:
                labels.append(query[at + 1 : at + 1 + query[at]].decode())
                at += query[at] + 1
            name, kind = ".".join(labels).lower(), struct.unpack("!H", query[end - 4 : end - 2])[0]
            asked.append(name)
            is_known, is_ours = name == API, name == API and kind == 1
            head = query[:2] + struct.pack("!5H", 0x8180 if is_known else 0x8183, 1, int(is_ours), 0, 0)
            record = struct.pack("!HHHIH4B", 0xC00C, 1, 1, 60, 4, 127, 0, 0, 1) if is_ours else b""
            server.sendto(head + query[12:end] + record, client)

    threading.Thread(target=serve, daemon=True).start()


def empty_root(folder, binary):
    root = folder / "root"
    for path in ("etc/ssl/certs", "etc/tollgate", "var/lib/tollgate", "var/spool/tollgate"):
        (root / path).mkdir(parents=True)
    shutil.copy(binary, root / "tollgate")
    shutil.copy(DEPLOY / "docker/tollgate.toml", root / "etc/tollgate/tollgate.toml")
    (root / "etc/resolv.conf").write_text("nameserver 127.0.0.1\n")
    for path in ("var/lib/tollgate", "var/spool/tollgate"):
        os.chown(root / path, USER, USER)
    (root / "dev").mkdir()
    for name, minor in (("random", 8), ("urandom", 9)):
        os.mknod(root / "dev" / name, 0o666 | stat.S_IFCHR, os.makedev(1, minor))
        (root / "dev" / name).chmod(0o666)
    folder.chmod(0o755)
    return root


def start(root, *arguments, environment=None):
    def enter():
        os.chroot(root)
        os.chdir("/")
        os.setgroups([])
        os.setgid(USER)
        os.setuid(USER)

    known = {"TOLLGATE_CONFIG": "/etc/tollgate/tollgate.toml"} | (environment or {})
    # Its log is of no interest here; what it says on the standard error is.
    return subprocess.Popen(["/tollgate", *arguments], env=known, preexec_fn=enter, stdout=subprocess.DEVNULL)


def ask(url, **options):
    request = urllib.request.Request(url, data=options.get("data"), headers=options.get("headers", {}))
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=options.get("context"))
    )
    with opener.open(request, timeout=PATIENCE) as answer:
        return answer.status, answer.read()


def wait_for(probe, process):
    end = time.monotonic() + PATIENCE
    while True:
        assert process.poll() is None, f"tollgate ended with {process.returncode}"
        try:
            return probe()
        except OSError:
            assert time.monotonic() < end, "tollgate does not answer"
            time.sleep(0.05)


def exercise(root, environment):
    process = start(root, "run", environment=environment)
    try:
        for path in ("livez", "readyz"):
            status, _ = wait_for(lambda path=path: ask(f"http://127.0.0.1:9901/{path}"), process)
            assert status == 200, (path, status)
        context = ssl.create_default_context(cafile=str(root / "var/lib/tollgate/state/ca.pem"))
        bot = {"Authorization": "Bearer static-check"}
        _, body = ask("https://localhost:8443/v1/people/me", headers=bot, context=context)
        assert json.loads(body)["id"], body
        _, body = ask("https://localhost:8443/v1/rooms", context=context, data=b'{"title": "static"}',
                      headers=bot | {"Content-Type": "application/json"})
        room = json.loads(body)["id"]
        # Larger than what waits in memory: this goes through the spool.
        text = b"x" * 300_000
        form = b'--b\r\nContent-Disposition: form-data; name="roomId"\r\n\r\n' + room.encode()
        form += b'\r\n--b\r\nContent-Disposition: form-data; name="files"; filename="a.txt"\r\n'
        form += b"Content-Type: text/plain\r\n\r\n" + text + b"\r\n--b--\r\n"
        _, body = ask("https://localhost:8443/v1/messages", context=context, data=form,
                      headers=bot | {"Content-Type": "multipart/form-data; boundary=b"})
        file = json.loads(body)["files"][0]
        assert file.startswith("https://localhost:8443/v1/contents/"), file
        assert ask(file, headers=bot, context=context)[1] == text
        commands = subprocess.run([root / "tollgate", "--help"], capture_output=True, text=True, check=True).stdout
        if "healthcheck" in commands:
            assert start(root, "healthcheck").wait(PATIENCE) == 0
        else:
            print("skipped: this binary has no healthcheck")
    finally:
        process.send_signal(signal.SIGTERM)
    code = process.wait(PATIENCE * 2)
    assert code == 0, f"ended with {code}"


def main(binary):
    raise_loopback()
    asked = []
    answer_names(asked)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        root = empty_root(folder, binary)
        bundle = root / "etc/ssl/certs/ca-certificates.crt"
        sim = subprocess.Popen(
            [binary, "sim", "--https", "127.0.0.1:443", "--http", "127.0.0.1:0", "--ca-out", bundle],
            stdout=subprocess.DEVNULL,
        )
        try:
            end = time.monotonic() + PATIENCE
            while not bundle.exists():
                assert time.monotonic() < end and sim.poll() is None, "the simulator did not start"
                time.sleep(0.05)
            bundle.chmod(0o644)
            for resolve in ("system", "dns"):
                asked.clear()
                exercise(root, {"TOLLGATE_UPSTREAM__RESOLVE": resolve, "TOLLGATE_SHUTDOWN__DELAY": "0s"})
                assert API in asked, "nobody asked the name server"
                print(f"ok: runs in an empty root, upstream.resolve = {resolve}")
        finally:
            sim.terminate()
            sim.wait(PATIENCE)


if __name__ == "__main__":
    main(sys.argv[1])
