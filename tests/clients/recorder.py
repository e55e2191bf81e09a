"""An upstream that writes down every request it gets and answers each with its own number."""

import contextlib

from messages import Reader
from raw import Server


class Recorder:
    """`requests` are what was read; `faults` what could not be read as strict HTTP/1.1."""

    def __init__(self):
        self.requests = []
        self.faults = []
        self.server = Server(self._serve)

    def _serve(self, connection):
        connection.settimeout(60)
        reader = Reader(lambda: connection.recv(65536))
        try:
            while not reader.is_over():
                request = reader.request()
                self.requests.append(request)
                body = b'{"number": %d, "target": "%s"}' % (len(self.requests), request.target.encode())
                head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nCache-Control: private, max-age=60\r\n"
                head += b"Content-Length: %d\r\n\r\n" % len(body)
                connection.sendall(head + (b"" if request.method == "HEAD" else body))
        except AssertionError as fault:
            self.faults.append(str(fault))
        except OSError:
            pass

    @contextlib.contextmanager
    def watching(self):
        """A list that holds, at the end, what came meanwhile."""
        seen, before = [], len(self.requests)
        yield seen
        seen += self.requests[before:]
        assert not self.faults, self.faults

    def stop(self):
        self.server.stop()
