"""Many downloads at once over plain sockets, so that the client is not what is measured."""

import hashlib
import re
import selectors
import socket
import threading
import time

from world import TIMEOUT

BUFFER = 256 * 1024


class Reader:
    """One GET: its head, the digest of its body, and when what came."""

    def __init__(self, proxy, path, token, window=None):
        self.socket = socket.socket()
        if window:
            # Before connecting: what the other side may have on its way to a reader that does not read.
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        self.socket.settimeout(TIMEOUT)
        self.socket.connect(("127.0.0.1", proxy.http_port))
        self.head = b""
        self.status = None
        self.length = None
        self.received = 0
        self.digest = hashlib.sha256()
        self.first_after = None
        self.ended_after = None
        self.started = time.monotonic()
        lines = [f"GET {path} HTTP/1.1", f"Host: localhost:{proxy.http_port}", f"Authorization: Bearer {token}"]
        self.socket.sendall("\r\n".join([*lines, "Connection: close", "", ""]).encode())

    def read(self):
        """Reads once; false at the end."""
        try:
            part = self.socket.recv(BUFFER)
        except (ConnectionResetError, BrokenPipeError):
            part = b""
        if self.status is None:
            self.head += part
            head, found, part = self.head.partition(b"\r\n\r\n")
            if not found:
                return bool(self.head) and self.ended_after is None
            self.head = head.decode("latin-1").lower()
            self.status = int(self.head.split()[1])
            length = re.search(r"content-length: (\d+)", self.head)
            self.length = int(length[1]) if length else 0
            if not part:
                return True
        if not part:
            self.ended_after = time.monotonic() - self.started
            return False
        if self.first_after is None:
            self.first_after = time.monotonic() - self.started
        self.received += len(part)
        self.digest.update(part)
        if self.received == self.length:
            self.ended_after = time.monotonic() - self.started
            return False
        return True

    def read_until(self, count):
        """Reads until so many bytes of the body are there, or all that there ever will be."""
        while self.received < count and self.read():
            pass
        return self

    def is_whole(self):
        return self.received == self.length

    def is_broken(self):
        """The end came before the promised length."""
        return self.ended_after is not None and self.received < self.length

    def leave(self):
        self.socket.close()


def read_all(readers, until=None, seconds=120):
    """Reads all to their ends, or each until its body has so many bytes; on two threads."""
    errors = []

    def drain(share):
        end = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            for reader in share:
                selector.register(reader.socket, selectors.EVENT_READ, reader)
            while selector.get_map():
                if time.monotonic() > end:
                    errors.append(f"{len(selector.get_map())} readers did not come to their end in {seconds} s")
                    return
                for key, _ in selector.select(timeout=1):
                    reader = key.data
                    if not reader.read() or (until is not None and reader.received >= until):
                        selector.unregister(reader.socket)

    threads = [threading.Thread(target=drain, args=(readers[part::2],)) for part in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, errors
