"""Bots that work at once against a limited API: what an operator's page is looked at for."""

import contextlib
import hashlib
import itertools
import threading

import requests

from world import Bot

NAMES = ["alerts", "ci", "deploys", "helpdesk", "inventory", "onboarding", "reports", "standup"]


def named(names=NAMES):
    """The configuration of named tenants, whose tokens are `token-NAME`."""
    hashes = {name: hashlib.sha256(token_of(name).encode()).hexdigest() for name in names}
    return "\n".join(f'[[tenant]]\nname = "{name}"\ntoken_sha256 = ["{digest}"]\n' for name, digest in hashes.items())


def token_of(name):
    return f"token-{name}"


# A tenant that passes the line by: its request reaches the API at once, however many wait.
WATCHDOG = named(["watchdog"]) + "bypass = true\n"


def refuse(sim, proxy, seconds):
    """Has the API ask everybody to wait; when it returns, the proxy has heard it."""
    sim.person(token_of("watchdog"))
    sim.force("GET", "/v1/people/me", 429, headers={"Retry-After": str(seconds)})
    assert proxy.bot(token_of("watchdog")).get("/v1/people/me").status_code == 429


class Traffic:
    """Bots that read, write and fetch attachments until they are stopped."""

    def __init__(self, sim, proxy, names=NAMES, threads=3):
        self.proxy = proxy
        self.over = threading.Event()
        for name in names:
            sim.person(token_of(name))
        self.room = sim.room(token_of(names[0]))
        for name in names[1:]:
            sim.control("POST", "memberships", json={"roomId": self.room, "personEmail": f"{token_of(name)}@example.com"})
        sizes = [2_000, 30_000, 400_000]
        self.files = [
            sim.upload(token_of(names[0]), self.room, f"{number}.png", "image/png", sizes[number % 3]) for number in range(6)
        ]
        # The first bots are the busy ones.
        counts = [max(1, threads - index // 2) for index in range(len(names))]
        work = [(name, number) for name, count in zip(names, counts, strict=True) for number in range(count)]
        self.threads = [threading.Thread(target=self._work, args=one, daemon=True) for one in work]
        for thread in self.threads:
            thread.start()

    def _work(self, name, number):
        bot = Bot(self.proxy.base, token_of(name), self.proxy.ca)
        for turn in itertools.count(number):
            if self.over.is_set():
                return
            with contextlib.suppress(requests.RequestException):
                answer = self._ask(bot, turn, number)
                # A bot that obeys, though not for ever.
                self.over.wait(min(8, int(answer.headers.get("Retry-After", 0))))
            self.over.wait(0.05)

    def _ask(self, bot, turn, number):
        if turn % 4 == 0:
            return bot.post("/v1/messages", json={"roomId": self.room, "text": f"turn {turn}"})
        if turn % 4 == 2:
            return bot.get(self.files[(turn // 4 + number) % len(self.files)])
        if turn % 8 == 3:
            return bot.get(f"/v1/messages?roomId={self.room}&max=10", headers={"Prefer": "wait=1"})
        return bot.get(f"/v1/rooms/{self.room}")

    def stop(self):
        self.over.set()
        for thread in self.threads:
            thread.join(timeout=40)
