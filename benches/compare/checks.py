"""Whether a proxy really does what a case says: asked with curl before the run, and counted at the origin after it."""

import hashlib
import json
import re
import subprocess

from world import HOST, JSON_BYTES, SIZES


class Unfit(Exception):
    """The proxy does not do what the case is about; says why."""


class Checks:
    """Of one proxy before the origin."""

    def __init__(self, world, origin, proxy):
        self.world, self.origin, self.proxy = world, origin, proxy

    def before(self, case):
        """Warms what the case needs, and holds the answers against what they should be."""
        self._upstream()
        if not case.path:
            return
        if case.kept:
            # Fetched, and for Tollgate with a fresh proof: the run is shorter than that lasts.
            self._ask(case, "-H", "Cache-Control: no-cache")
            self._same(case, self._ask(case))
            self._moved(0, lambda: self._same(case, self._ask(case)))
            if case.method == "HEAD":
                self._moved(0, lambda: self._length(self._ask(case, "--head")[0], SIZES[case.kind]))
        elif case.body:
            head, _body = self._ask(case, "--data-binary", f"@{self.world.folder / case.body}",
                                    "-H", "Content-Type: application/octet-stream", "-H", "Expect:")
            read = int(_field(head, "x-read"))
            size = (self.world.folder / case.body).stat().st_size
            if read < size:
                raise Unfit(f"the origin read {read} of {size} bytes")
        else:
            for _ in range(2):
                self._moved(1, lambda: self._person(self._ask(case)[1]))

    def _upstream(self):
        """TLS 1.3, the API's name in SNI and Host, and a connection that is used again."""
        for _ in range(3):
            _head, body = self._curl("1.1", "/v1/rooms/1")
            seen = json.loads(body)
        if seen["protocol"] != "TLSv1.3" or seen["name"] != "webexapis.com" or seen["host"] != "webexapis.com":
            raise Unfit(f"towards the origin: {seen}")
        if seen["reused"] < 2:
            raise Unfit(f"no keep-alive towards the origin: {seen}")

    def _ask(self, case, *arguments):
        return self._curl(case.protocol, case.path, *arguments)

    def _curl(self, protocol, path, *arguments):
        """Head and body of a 200, over TLS 1.3 and this protocol alone."""
        port, folder = self.proxy.port, self.world.folder
        done = subprocess.run(
            ["curl", "-sSv", "--noproxy", "*", "--max-time", "60", f"--http{protocol}", "--tlsv1.3",
             "--cacert", folder / "ca.pem", "--resolve", f"{HOST}:{port}:127.0.0.1",
             "-H", "Authorization: Bearer compare-token-0", "-D", folder / "head", "-o", folder / "body",
             *arguments, f"https://{HOST}:{port}{path}"],
            capture_output=True, check=False,
        )
        said = done.stderr.decode(errors="replace")
        if done.returncode:
            raise Unfit(f"curl: {said[-300:]}")
        head = (folder / "head").read_text()
        if not re.match(rf"HTTP/{re.escape(protocol)} 200", head) or "SSL connection using TLSv1.3" not in said:
            raise Unfit(f"not a 200 over HTTP/{protocol} and TLS 1.3: {head[:200]}")
        return head, (folder / "body").read_bytes()

    def _same(self, case, answer):
        head, body = answer
        if hashlib.sha256(body).hexdigest() != self.world.hashes[case.kind]:
            raise Unfit(f"{len(body)} other bytes than the origin's")
        if _field(head, "cache-control") != "no-cache" or _field(head, "content-type") != "image/png":
            raise Unfit(f"another head than the origin's: {head}")

    def _person(self, body):
        if len(body) != JSON_BYTES or "displayName" not in json.loads(body):
            raise Unfit(f"another person than the origin's: {body[:100]}")

    def _length(self, head, bytes_):
        if int(_field(head, "content-length")) != bytes_:
            raise Unfit(f"not {bytes_} bytes: {head}")

    def _moved(self, count, ask):
        """Holds the origin's count of requests against what is expected of it."""
        before = self.origin.requests()
        ask()
        moved = self.origin.requests() - before - 1
        if moved != count:
            raise Unfit(f"the origin was asked {moved} times, not {count}")


def _field(head, name):
    found = re.search(rf"(?im)^{name}: *(.*?)\r?$", head)
    return found[1] if found else "-1"
