"""Servers that speak some of Redis's protocol and are none that can be used: too old, or mad."""

import contextlib
import socket
import threading


class FakeRedis:
    """Answers each command with what `answer(words)` returns, as bytes; None ends the connection."""

    def __init__(self, answer):
        self.answer = answer
        self.asked = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with connection, connection.makefile("rb") as lines, contextlib.suppress(OSError, ValueError):
            while head := lines.readline():
                words = []
                for _ in range(int(head[1:])):
                    size = int(lines.readline()[1:])
                    words.append(lines.read(size + 2)[:-2].decode(errors="replace"))
                self.asked.append(words)
                answer = self.answer([word.upper() for word in words])
                if answer is None:
                    return
                connection.sendall(answer)

    def url(self):
        return f"redis://127.0.0.1:{self.port}"

    def stop(self):
        self.listener.close()


def bulk(text):
    return f"${len(text)}\r\n{text}\r\n".encode()


def version_5(words):
    """As Redis 5 answers: it has neither HELLO nor RESP3."""
    if words[0] in ("HELLO", "ACL"):
        return f"-ERR unknown command `{words[0]}`, with args beginning with: \r\n".encode()
    if words[0] == "INFO":
        return bulk("# Server\r\nredis_version:5.0.14\r\nredis_mode:standalone\r\n")
    return b"+OK\r\n"


def mad(words):
    """Greets as it should, and then answers everything with a list that never ends."""
    if words[0] == "HELLO":
        return b"%1\r\n+proto\r\n:3\r\n"
    if words[0] == "SUBSCRIBE":
        return b"".join(f">3\r\n+subscribe\r\n{bulk(name.lower()).decode()}:1\r\n".encode() for name in words[1:])
    return b"*2147483647\r\n" + b"*1000000000\r\n" * 64
