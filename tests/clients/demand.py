"""Demand on several replicas, in a process of its own: each tenant asks, reads the answer and asks again. All wait until each was
answered once: from then on none of them is a stranger any more.

Argument: a file with `{"seconds", "path", "think", "replicas": [{"port", "tokens"}]}`; `think`: seconds between two requests of one. It ends after so many seconds, or when its
input ends. Then it prints what each replica answered: counts by status in slices of a tenth of a second.
"""

import asyncio
import collections
import contextlib
import json
import pathlib
import random
import sys
import threading
import time

SLICE = 0.1
# A tenant that was refused, or whose connection broke, does not ask at once.
REST = 0.5


class Replica:
    """What one replica answered."""

    def __init__(self, port):
        self.port = port
        self.slices = collections.defaultdict(collections.Counter)
        self.slowest = 0.0

    def note(self, began, status):
        now = time.monotonic()
        self.slices[int((now - START) / SLICE)][status] += 1
        self.slowest = max(self.slowest, now - began)

    def told(self):
        last = max(self.slices, default=-1)
        statuses = {status for counts in self.slices.values() for status in counts}
        slices = {status: [self.slices[at][status] for at in range(last + 1)] for status in sorted(statuses)}
        return {"port": self.port, "slices": slices, "slowest": self.slowest}


async def answer(reader):
    """The status of one answer, read to its end."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    lines = head.split("\r\n")
    fields = dict(line.split(": ", 1) for line in lines[1:] if ": " in line)
    if "content-length" in fields:
        await reader.readexactly(int(fields["content-length"]))
    elif fields.get("transfer-encoding") == "chunked":
        while size := int((await reader.readline()).split(b";")[0], 16):
            await reader.readexactly(size + 2)
        await reader.readline()
    return lines[0].split()[1], fields.get("connection") == "close"


async def tenant(replica, path, think, token, all_known):
    order = (
        f"GET {path} HTTP/1.1\r\nHost: localhost:{replica.port}\r\nAuthorization: Bearer {token}\r\n"
        "Cache-Control: no-cache\r\n\r\n"
    ).encode()
    writer = None
    while True:
        began = time.monotonic()
        try:
            if writer is None:
                reader, writer = await asyncio.open_connection("127.0.0.1", replica.port)
            writer.write(order)
            status, is_last = await asyncio.wait_for(answer(reader), 60)
        except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
            status, is_last = type(error).__name__, True
        replica.note(began, status)
        if is_last and writer is not None:
            writer.close()
            writer = None
        if status != "200":
            await asyncio.sleep(REST)
        elif all_known is not None:
            all_known.met()
            await all_known.wait()
            all_known = None
            await asyncio.sleep(random.random() * think)
        elif think:
            await asyncio.sleep(think)


class Known(asyncio.Event):
    """Set when so many have been met."""

    def __init__(self, count):
        super().__init__()
        self.left = count

    def met(self):
        self.left -= 1
        if self.left == 0:
            self.set()


async def main(order):
    replicas = [Replica(one["port"]) for one in order["replicas"]]
    all_known = Known(sum(len(one["tokens"]) for one in order["replicas"]))
    work = [
        asyncio.create_task(tenant(replica, order["path"], order["think"], token, all_known))
        for replica, one in zip(replicas, order["replicas"], strict=True)
        for token in one["tokens"]
    ]
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    wait = threading.Thread(target=lambda: (sys.stdin.read(), loop.call_soon_threadsafe(over.set)), daemon=True)
    wait.start()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(over.wait(), order["seconds"])
    for task in work:
        task.cancel()
    print(json.dumps({"began": START, "ended": time.monotonic(), "replicas": [one.told() for one in replicas]}), flush=True)


if __name__ == "__main__":
    START = time.monotonic()
    asyncio.run(main(json.loads(pathlib.Path(sys.argv[1]).read_text())))
