"""The ground of a comparison: folder, certificates, files of the origin, processors, templates."""

import hashlib
import json
import os
import pathlib
import shutil
import string
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = pathlib.Path(__file__).resolve().parent
SERVERS = ROOT / "target/compare/servers"
SIZES = {"picture": 44_752, "large": 104_857_600, "small": 1_024}
JSON_BYTES = 1_024
HOST = "localhost"


class World:
    """What all servers of one run share."""

    def __init__(self):
        self.folder = ROOT / "target/compare/run"
        shutil.rmtree(self.folder, ignore_errors=True)
        (self.folder / "files").mkdir(parents=True)
        self.load_core, self.proxy_core = cores()
        self._certificates()
        self._files()

    def fill(self, template, **values):
        """Writes a template of this folder with its values; returns where."""
        text = string.Template((HERE / "templates" / template).read_text())
        target = self.folder / template
        person = json.dumps({"id": "Y2lzY29zcGFyazovL3VzL1BFT1BMRS8x", "displayName": ""})
        padded = person.replace('""', '"' + "x" * (JSON_BYTES - len(person)) + '"')
        target.write_text(text.substitute(values, folder=self.folder, json=padded))
        return target

    def _files(self):
        self.hashes = {}
        for kind, size in SIZES.items():
            body = os.urandom(size)
            (self.folder / "files" / str(size)).write_bytes(body)
            self.hashes[kind] = hashlib.sha256(body).hexdigest()
        for name, size in (("upload-1", 1 << 20), ("upload-100", 100 << 20)):
            (self.folder / name).write_bytes(os.urandom(size))

    def _certificates(self):
        """A CA, and leaves of P-256 for the origin and for all proxies alike."""
        self._openssl("req", "-x509", *NEW_KEY, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=compare CA",
                      "-days", "30", "-addext", "basicConstraints=critical,CA:TRUE",
                      "-addext", "keyUsage=critical,keyCertSign")
        for name, host in (("origin", "webexapis.com"), ("proxy", HOST)):
            self._openssl("req", *NEW_KEY, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={host}")
            (self.folder / f"{name}.ext").write_text(f"subjectAltName=DNS:{host}\nextendedKeyUsage=serverAuth\n")
            self._openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                          "-days", "30", "-extfile", f"{name}.ext", "-out", f"{name}.pem")
        both = (self.folder / "proxy.pem").read_text() + (self.folder / "proxy.key").read_text()
        (self.folder / "both.pem").write_text(both)

    def _openssl(self, *arguments):
        subprocess.run(["openssl", *arguments], cwd=self.folder, check=True, capture_output=True)


def cores():
    """One for what loads and answers, one for the proxy; the same where there is but one."""
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[0], allowed[min(1, len(allowed) - 1)]


def pinned(core):
    """What a child does before it becomes a program: stay on one core, and so tokio takes one worker thread."""
    return lambda: os.sched_setaffinity(0, {core})


NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
