"""The simulated Webex: started, seeded and questioned from outside."""

import hashlib
import re

import requests

from world import API, BINARY, TIMEOUT, Process

# Requests of the tests themselves carry it, and are left out of what the simulator is asked about.
OURS = {"User-Agent": "tollgate-tests-direct"}


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
        self.session.headers |= OURS
        self.forgotten = 0

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
        """Back to the first state: nobody, nothing, no limits, an empty log."""
        self.control("POST", "reset")
        self.set(limit="all=off")
        self.forgotten = 0

    def set(self, **settings):
        self.control("POST", "settings", json=settings)

    def force(self, method, path, status=None, n=1, headers=None, body=None, html=None, close=None, after_bytes=None):
        """The next `n` such requests are answered like this instead."""
        rule = {"method": method, "path": path, "n": n}
        optional = {"status": status, "headers": headers, "body": body, "html": html, "close": close}
        optional["after_bytes"] = after_bytes
        rule |= {key: value for key, value in optional.items() if value is not None}
        self.control("POST", "force", json=[rule])

    def person(self, token, email=None, room=None):
        """The id of a new person behind the token; a member of the room, if one is named."""
        email = email or f"{token}@example.com"
        made = self.control("POST", "people", json=[{"token": token, "email": email, "displayName": token}])
        person = made["ids"][0]
        if room:
            self.control("POST", "memberships", json=[{"roomId": room, "personId": person}])
        return person

    def room(self, token, title="Project Unicorn"):
        return self.ask(token, "POST", "/v1/rooms", json={"title": title}).json()["id"]

    def messages(self, room, count):
        self.control("POST", "messages", json={"roomId": room, "count": count})

    def kms(self, room, reads):
        self.control("POST", "rooms", json=[{"id": room, "kms": reads}])

    def upload(self, token, room, name, media_type, size, state="clean"):
        """The path of a new content."""
        body = {"roomId": room, "name": name, "type": media_type, "size": size, "state": state}
        return self.control("POST", "content", json=body)["url"].removeprefix(API)

    def fill(self, family, token, room, count):
        """Makes so many of a family, and says with which query they are listed."""
        if family == "messages":
            self.messages(room, count)
            return f"roomId={room}"
        if family == "rooms":
            self.control("POST", "rooms", json=[{"title": f"r{n}", "token": token} for n in range(count)])
            return "type=group"
        people = [{"email": f"p{n}@example.com", "displayName": f"Harold {n}"} for n in range(count)]
        made = self.control("POST", "people", json=people)["ids"]
        if family == "people":
            return "displayName=Harold"
        self.control("POST", "memberships", json=[{"roomId": room, "personId": person} for person in made])
        return f"roomId={room}"

    def forget(self):
        """What was asked so far is no longer told."""
        self.forgotten = len(self.control("GET", "log"))

    def log(self):
        """Requests below /v1 in order, without those of the tests themselves."""
        entries = self.control("GET", "log")[self.forgotten :]
        return [entry for entry in entries if entry["headers"].get("user-agent") != OURS["User-Agent"]]

    def statuses(self, method, path):
        return [entry["status"] for entry in self.log() if (entry["method"], entry["path"]) == (method, path)]

    def count(self, method, path):
        return len(self.statuses(method, path))

    def tokens(self, method, path):
        return {entry["token"] for entry in self.log() if (entry["method"], entry["path"]) == (method, path)}

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
