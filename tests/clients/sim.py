"""The simulated Webex: started, seeded and questioned from outside."""

import hashlib
import re

import requests

from world import API, BINARY, TIMEOUT, Process

# Requests of the tests themselves carry it, and are left out of what the simulator is asked about.
OURS = {"User-Agent": "tollgate-tests-direct"}


# The settings that tests change, as they are at first.
PLAIN = {
    "limit": "all=off",
    "limit_mode": "fixed-window",
    "gzip": False,
    "paging": "none",
    "filename_star": False,
    "scan_retry_after": 1,
}


def mark_of(token):
    """What stands for a token in the simulator's log."""
    return hashlib.sha256(token.encode()).hexdigest()[:12]


class Sim(Process):
    """`tollgate sim` on ports of its own, without limits unless a flag says otherwise."""

    def __init__(self, folder, *flags):
        self.ca = folder / "sim-ca.pem"
        arguments = [BINARY, "sim", "--https", "127.0.0.1:0", "--http", "127.0.0.1:0", "--ca-out", self.ca]
        super().__init__([*arguments, "--limit", "all=off", *flags], folder)
        line = self.wait_for_line("sim listening")
        self.https_address = re.search(r"https=(\S+)", line)[1]
        self.http_address = re.search(r"http=(\S+)", line)[1]
        self.http = f"http://{self.http_address}"
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers.update(OURS)
        self.forgotten = 0
        self.seed = 1000

    def control(self, method, path, **options):
        answer = self.session.request(method, f"{self.http}/_sim/{path}", timeout=TIMEOUT, **options)
        assert answer.ok, f"{method} /_sim/{path}: {answer.status_code} {answer.text[:500]}"
        return answer.json() if answer.content else None

    def ask(self, token, method, path, **options):
        headers = {"Authorization": f"Bearer {token}"} | options.pop("headers", {})
        answer = self.session.request(method, self.http + path, headers=headers, timeout=TIMEOUT, **options)
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text[:500]}"
        return answer

    def reset(self):
        """Back to the first state: no limits, no oddities, an empty log, and ids that no earlier test has seen."""
        self.seed += 1
        self.set(**PLAIN, seed=self.seed)
        self.control("POST", "reset")
        self.forgotten = 0

    def set(self, **settings):
        self.control("POST", "settings", json=settings)

    def force(self, method, path, status=None, **order):
        """The next such requests are answered like this instead. `html`: True, or the page itself."""
        page = order.pop("html", None)
        if page:
            order |= {"html": True} | ({"body": page} if isinstance(page, str) else {})
        if status:
            order["status"] = status
        self.control("POST", "force", json={"method": method, "path": path} | order)

    def person(self, token, email=None, room=None):
        """The id of a new person behind the token; a member of the room, if one is named."""
        email = email or f"{token}@example.com"
        person = self.control("POST", "people", json={"token": token, "email": email, "displayName": token})
        if room:
            self.control("POST", "memberships", json={"roomId": room, "personEmail": email})
        return person["id"]

    def room(self, token, title="Project Unicorn", **more):
        return self.control("POST", "rooms", json={"title": title, "members": [token]} | more)["id"]

    def messages(self, room, count):
        self.control("POST", "messages", json={"roomId": room, "count": count})

    def upload(self, token, room, name, media_type, size, state="clean"):
        """The path of a new content in a room of the token's owner."""
        body = {"roomId": room, "name": name, "type": media_type, "size": size, "state": state}
        return self.control("POST", "content", json=body)["url"].removeprefix(API).split("?")[0]

    def fill(self, family, token, room, count):
        """Makes so many of a family, and says with which query they are listed."""
        if family == "messages":
            self.messages(room, count)
            return f"roomId={room}"
        if family == "rooms":
            self.room(token, count=count)
            return "type=group"
        emails = [f"harold{number}@example.com" for number in range(count)]
        self.control("POST", "people", json=[{"email": email, "displayName": "Harold"} for email in emails])
        if family == "people":
            return "displayName=Harold"
        self.control("POST", "memberships", json=[{"roomId": room, "personEmail": email} for email in emails])
        return f"roomId={room}"

    def _entries(self):
        return self.control("GET", "log")["items"]

    def forget(self):
        """What was asked so far is no longer told."""
        self.forgotten = len(self._entries())

    def log(self):
        """Requests in order, without those of the tests themselves."""
        entries = self._entries()[self.forgotten :]
        return [entry for entry in entries if entry["headers"].get("user-agent") != OURS["User-Agent"]]

    def statuses(self, method, path):
        return [entry["status"] for entry in self.log() if (entry["method"], entry["path"]) == (method, path)]

    def count(self, method, path):
        return len(self.statuses(method, path))

    def askers(self, path):
        """The marks of all tokens with which a path was asked for."""
        return {entry["token"] for entry in self.log() if entry["path"] == path}

    def strangers(self):
        """Requests that did not come through a Tollgate."""
        return [entry for entry in self.log() if "tollgate" not in entry["headers"].get("via", "").lower()]

    def contents_of(self, message, token):
        """Name, type, length and digest of each file of a message, read straight from the simulator."""
        found = self.ask(token, "GET", f"/v1/messages/{message}").json()
        return [self._describe(url.removeprefix(API), token) for url in found.get("files", [])]

    def digest(self, path, token):
        return self._describe(path, token)["sha256"]

    def _describe(self, path, token):
        answer = self.ask(token, "GET", path)
        return {
            "name": re.search(r'filename="([^"]*)"', answer.headers["Content-Disposition"])[1],
            "type": answer.headers["Content-Type"],
            "bytes": len(answer.content),
            "sha256": hashlib.sha256(answer.content).hexdigest(),
        }
