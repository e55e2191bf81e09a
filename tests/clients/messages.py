"""HTTP/1.1 read as strictly as its grammar: what deviates by one byte is an AssertionError."""

import re
import typing

TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")


class Message(typing.NamedTuple):
    """One request or answer: start line, fields with lower-case names, how it was framed, what it carried."""

    start: bytes
    fields: list
    framing: str
    body: bytes
    trailers: list

    def all(self, name):
        return [value for known, value in self.fields if known == name]

    @property
    def status(self):
        return int(self.start.split(b" ")[1])

    @property
    def method(self):
        return self.start.split(b" ")[0].decode()

    @property
    def target(self):
        return self.start.split(b" ")[1].decode()


class Reader:
    """Messages from a function that returns the next bytes, and nothing at the end."""

    def __init__(self, receive):
        self.receive = receive
        self.buffer = b""

    @classmethod
    def of(cls, whole):
        parts = [whole]
        return cls(lambda: parts.pop() if parts else b"")

    def _fill(self):
        part = self.receive()
        self.buffer += part
        return part

    def is_over(self):
        return not self.buffer and not self._fill()

    def line(self):
        while b"\n" not in self.buffer:
            assert self._fill(), f"ended within a line: {self.buffer[:200]!r}"
        line, self.buffer = self.buffer.split(b"\n", 1)
        assert line.endswith(b"\r"), f"bare LF after {line!r}"
        return line[:-1]

    def exactly(self, count):
        while len(self.buffer) < count:
            assert self._fill(), f"{count - len(self.buffer)} bytes are missing after {self.buffer[:200]!r}"
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def rest(self):
        while self._fill():
            pass
        taken, self.buffer = self.buffer, b""
        return taken

    def fields(self):
        fields = []
        while line := self.line():
            name, colon, value = line.partition(b":")
            assert colon and TOKEN.fullmatch(name) and VALUE.fullmatch(value), f"no field: {line!r}"
            fields.append((name.decode().lower(), value.strip(b" \t")))
        return fields

    def chunks(self):
        body = b""
        while True:
            size = self.line()
            assert re.fullmatch(rb"[0-9A-Fa-f]{1,16}", size), f"no chunk size: {size!r}"
            if int(size, 16) == 0:
                return body, self.fields()
            body += self.exactly(int(size, 16))
            assert self.line() == b"", "chunk data longer than its size"

    def _body(self, fields, otherwise):
        lengths = [value for name, value in fields if name == "content-length"]
        codings = [value for name, value in fields if name == "transfer-encoding"]
        assert len(lengths) + len(codings) <= 1, f"framed twice: {fields}"
        if codings:
            assert codings == [b"chunked"], codings
            return "chunked", *self.chunks()
        if lengths:
            assert re.fullmatch(rb"0|[1-9][0-9]*", lengths[0]), lengths
            return "length", self.exactly(int(lengths[0])), []
        return otherwise, (self.rest() if otherwise == "close" else b""), []

    def request(self):
        start = self.line()
        assert re.fullmatch(rb"[!-~]+ [!-~\x80-\xff]+ HTTP/1\.1", start), f"no request line: {start!r}"
        fields = self.fields()
        assert sum(name == "host" for name, _ in fields) == 1, fields
        return Message(start, fields, *self._body(fields, "none"))

    def answer(self, method="GET"):
        start = self.line()
        assert re.fullmatch(rb"HTTP/1\.[01] [1-5]\d\d [\t -~\x80-\xff]*", start), f"no status line: {start!r}"
        fields = self.fields()
        status = int(start.split(b" ")[1])
        if method == "HEAD" or status < 200 or status in (204, 304):
            return Message(start, fields, "none", b"", [])
        return Message(start, fields, *self._body(fields, "close"))


def answers(received, methods=()):
    """All final answers in the bytes that a client got; nothing may be left over."""
    reader, found, methods = Reader.of(received), [], list(methods)
    while not reader.is_over():
        answer = reader.answer(methods[0] if methods else "GET")
        if answer.status >= 200:
            found.append(answer)
            methods = methods[1:]
    return found
