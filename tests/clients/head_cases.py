"""Heads over HTTP/1.1 that two parsers could read differently, and what must become of each."""

from framing_cases import SMUGGLED, Case, head

GET = b"GET /v1/messages HTTP/1.1"
BODY = b"Content-Length: %d" % len(SMUGGLED)


def refused(sent):
    return Case(sent, ("refused",))


def line(start, **options):
    return head(b"X-A: 1", line=start, **options)


def get(fields, *outcomes, body=b"", sent=b""):
    return Case(head(fields, line=GET) + sent, outcomes or ("piped",), body, "GET")


CONTROLS = [bytes([byte]) for byte in [*range(9), 11, 12, *range(14, 32), 127]]
# What no field name may contain (RFC 9110 §5.6.2), but the colon.
NO_TOKEN = [bytes([byte]) for byte in b' "(),/;<=>?@[\\]{}\x80\xff']

BYTES = {
    **{f"{byte!r} in a value": get(b"X-A: a%sb" % byte, "refused") for byte in [*CONTROLS, b"\r", b"\n"]},
    **{f"{byte!r} in a name": get(b"X%sA: b" % byte, "refused") for byte in [*CONTROLS, *NO_TOKEN, b"\r", b"\n", b"\t"]},
    **{f"{byte!r} in the target": refused(line(b"GET /v1/me%sssages HTTP/1.1" % byte)) for byte in [*CONTROLS, b"\r", b"\n"]},
    **{f"{byte!r} in the method": refused(line(b"GE%sT /v1/messages HTTP/1.1" % byte)) for byte in [*CONTROLS, *NO_TOKEN, b"\r", b"\n", b":"]},
    "LF for every CRLF": get(b"X-A: 1", "refused")._replace(sent=head(b"X-A: 1", line=GET).replace(b"\r\n", b"\n")),
    "LF behind the request line": refused(head(b"X-A: 1", line=GET).replace(b"1.1\r\n", b"1.1\n")),
    "LF ends the head": refused(head(b"X-A: 1", line=GET).replace(b"\r\n\r\n", b"\n\n")),
    "CRLF LF ends the head": refused(head(b"X-A: 1", line=GET).replace(b"\r\n\r\n", b"\r\n\n")),
    "LF CRLF ends the head": refused(head(b"X-A: 1", line=GET).replace(b"\r\n\r\n", b"\n\r\n")),
    "CR ends the head": refused(head(b"X-A: 1", line=GET).replace(b"\r\n\r\n", b"\r\r")),
}

LINES = {
    "two spaces": refused(line(b"GET  /v1/messages HTTP/1.1")),
    "two spaces before the version": refused(line(b"GET /v1/messages  HTTP/1.1")),
    "tab": refused(line(b"GET\t/v1/messages HTTP/1.1")),
    "space before": refused(b" " + line(GET)),
    "space behind": refused(line(GET + b" ")),
    "space in the target": refused(line(b"GET /v1/mess ages HTTP/1.1")),
    "no version": refused(line(b"GET /v1/messages")),
    "no target": refused(line(b"GET HTTP/1.1")),
    **{
        f"version {version!r}": refused(line(b"GET /v1/messages " + version))
        for version in [b"HTTP/1.2", b"HTTP/2.0", b"HTTP/0.9", b"HTTP/1.10", b"http/1.1", b"HTTP/1,1", b"HTTP/11", b"HTTP/1", b"XTTP/1.1", b"HTTP/+1.1", b"HTTP /1.1"]
    },
    "empty line before": Case(b"\r\n\r\n" + line(GET), ("piped", "refused"), b"", "GET"),
    "no colon": get(b"X-A 1", "refused"),
    "empty name": get(b": 1", "refused"),
    "no name at all": get(b":", "refused"),
    "folded": get(b"X-A: 1\r\n 2", "refused"),
    "folded with tab": get(b"X-A: 1\r\n\t2", "refused"),
    "folded first field": refused(GET + b"\r\n X-A: 1\r\nHost: localhost\r\n\r\n"),
    "folded emptiness": get(b"X-A: 1\r\n ", "refused"),
    "method of 33 bytes": refused(line(b"M" * 33 + b" /v1/messages HTTP/1.1")),
    "method of 32 bytes": Case(line(b"M" * 32 + b" /v1/messages HTTP/1.1"), ("piped",), b"", "M" * 32),
    "method of 70 kB": refused(line(b"M" * 70_000 + b" /v1/messages HTTP/1.1")),
    "target of 9 kB": Case(line(b"GET /v1/messages?" + b"a" * 9000 + b" HTTP/1.1"), ("refused", "answered")),
    "target of 70 kB": refused(line(b"GET /v1/messages?" + b"a" * 70_000 + b" HTTP/1.1")),
    "head of 40 kB": get(b"X-A: " + b"a" * 40_000, "refused"),
    "200 fields": get(b"\r\n".join(b"X-%d: 1" % number for number in range(200)), "refused"),
    "65 fields": get(b"\r\n".join(b"X-%d: 1" % number for number in range(63)), "refused"),
    "200 times one field": get(b"\r\n".join([b"X-A: 1"] * 200), "refused"),
    "preface of HTTP/2": Case(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", ("refused", "dropped")),
    **{f"{method} tunnel": refused(head(BODY, line=method + b" HTTP/1.1") + SMUGGLED) for method in [b"CONNECT webexapis.com:443", b"CONNECT localhost:443", b"TRACE /v1/messages", b"CONNECT /v1/messages"]},
}

TARGETS = {
    **{
        f"{target!r}": Case(line(b"GET %s HTTP/1.1" % target), ("piped",), b"", "GET")
        for target in [b"http://localhost/v1/messages", b"HTTP://LOCALHOST/v1/messages"]
    },
    **{
        f"{target!r}": Case(line(b"GET %s HTTP/1.1" % target), ("piped", "refused"), b"", "GET")
        for target in [b"https://localhost/v1/messages"]
    },
    **{
        f"{target!r}": refused(line(b"GET %s HTTP/1.1" % target))
        for target in [
            b"http://evil.example/v1/messages", b"http://webexapis.com/v1/messages", b"http://user@localhost/v1/messages",
            b"http://localhost@evil.example/v1/messages", b"http://evil.example@localhost/v1/messages",
            b"//evil.example/v1/messages", b"//localhost/v1/messages", b"///v1/messages", b"localhost", b"localhost:443",
            b"localhost/v1/messages", b"*", b"v1/messages", b"@evil.example/v1", b"@evil.example", b":443", b"?v1", b"#",
            b"ftp://localhost/v1/messages", b"file:///v1/messages", b"http:///v1/messages", b"http://", b"http:/v1/messages",
            b"http://localhost:99999/v1/messages", b"http://localhost:/../v1", b"gopher://localhost/v1/messages",
            b"\\v1\\messages", b"/\\evil.example/v1", b"/v1/../messages", b"/v1/./messages", b"/v1/%2e%2e/messages",
            b"/v1%2fmessages", b"/v1/%5cmessages", b"/v1/messages%00", b"javascript:alert(1)", b"%2fv1/messages",
            b"/v1/messages#fragment", b"/v1/messages#",
        ]
    },
    "asterisk for options": refused(line(b"OPTIONS * HTTP/1.1")),
}

HOSTS = {
    "none": refused(line(GET, host=b"")),
    "none, HTTP/1.0": refused(line(b"GET /v1/messages HTTP/1.0", host=b"")),
    "none, absolute form": Case(line(b"GET http://localhost/v1/messages HTTP/1.1", host=b""), ("refused", "piped"), b"", "GET"),
    "twice": refused(line(GET, host=b"Host: localhost\r\nHost: localhost\r\n")),
    "two": refused(line(GET, host=b"Host: localhost\r\nHost: evil.example\r\n")),
    "two, other case": refused(line(GET, host=b"Host: localhost\r\nhOST: evil.example\r\n")),
    "folded": refused(line(GET, host=b"Host: localhost\r\n evil.example\r\n")),
    "space before the colon": refused(line(GET, host=b"Host : localhost\r\n")),
    **{
        f"{host!r}": Case(line(GET, host=b"Host: " + host + b"\r\n"), ("refused", "answered"))
        for host in [
            b"", b"localhost, evil.example", b"localhost,localhost", b"localhost evil.example", b"localhost/evil", b"localhost?x",
            b"localhost#x", b"user@localhost", b"localhost@evil.example", b"localhost\\evil", b"localhost:abc", b"localhost:99999999",
            b"localhost:80:90", b"[::1", b"::1]", b"localhost\0", b"localhost\x0b", b"localhost\xff", b"%6cocalhost", b"evil.example",
            b"webexapis.com.evil.example", b"http://localhost", b"localhost;x", b"'localhost'", b'"localhost"', b".", b"*",
        ]
    },
}

CREDENTIALS = {
    "two": get(b"Authorization: Bearer evil", "refused", "answered"),
    "two, other case": get(b"aUTHORIZATION: Bearer evil", "refused", "answered"),
    "empty second": get(b"Authorization:", "refused", "answered"),
    "listed as hop": get(b"Connection: authorization"),
    "listed as hop, other case": get(b"Connection: close-not, AUTHORIZATION, Host"),
    "host listed as hop": get(b"Connection: host"),
    "length listed as hop": get(BODY + b"\r\nConnection: content-length", sent=SMUGGLED, body=SMUGGLED),
    "everything listed": get(b"Connection: host, authorization, cookie, via, x-a, te, trailer, connection\r\nX-A: 1"),
    "two, with a body": get(BODY + b"\r\nAuthorization: Bearer evil", "refused", "answered", sent=SMUGGLED),
}

UPGRADES = {
    "h2c": get(b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"),
    "h2c in parts": get(b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"),
    "websocket": get(b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13"),
    "upgrade with a body": get(b"Connection: Upgrade\r\nUpgrade: h2c\r\n" + BODY, sent=SMUGGLED, body=SMUGGLED),
    **{
        f"expect {value!r}": get(b"Expect: %s\r\n%s" % (value, BODY), "piped", "once", "refused", sent=SMUGGLED, body=SMUGGLED)
        for value in [b"100-continue", b"100-Continue", b"200-ok", b"", b"100-continue, x", b"x\r\nExpect: 100-continue", b"100-continue=x", b"y 100-continue"]
    },
    "expect without a body": get(b"Expect: 100-continue"),
    "expect in chunks": get(b"Expect: 100-continue\r\nTransfer-Encoding: chunked", "piped", "once", sent=b"5\r\nhello\r\n0\r\n\r\n", body=b"hello"),
}

# Answers that need no body, to requests that have one: none of it may be taken for a request.
EARLY = {
    name: Case(sent + SMUGGLED, ("refused", "answered"))
    for name, sent in {
        "unknown host": head(BODY, host=b"Host: evil.example\r\n"),
        "unknown host, expecting": head(BODY + b"\r\nExpect: 100-continue", host=b"Host: evil.example\r\n"),
        "two hosts": head(BODY, host=b"Host: localhost\r\nHost: localhost\r\n"),
        "two credentials": head(BODY + b"\r\nAuthorization: Bearer evil"),
        "dot segments": head(BODY, line=b"POST /v1/../x HTTP/1.1"),
        "long target": head(BODY, line=b"POST /v1/" + b"a" * 9000 + b" HTTP/1.1"),
        "loop": head(BODY + b"\r\nVia: 1.1 %V"),
        "too large": head(b"Content-Length: 2000000"),
        "too large and expecting": head(b"Content-Length: 2000000\r\nExpect: 100-continue"),
        "above what is drained": head(b"Content-Length: 100000", host=b"Host: evil.example\r\n"),
        "above what is drained, sent": head(b"Content-Length: %d" % (100_000 + len(SMUGGLED)), host=b"Host: evil.example\r\n") + b"x" * 100_000,
    }.items()
} | {
    f"{name}, in chunks": Case(head(b"Transfer-Encoding: chunked", host=b"Host: evil.example\r\n") + sent, ("refused", "answered"))
    for name, sent in {
        "one chunk": b"%x\r\n%s\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED),
        "bad chunk": b"x\r\n" + SMUGGLED,
        "short chunk": b"1\r\n" + SMUGGLED,
        "hidden trailers": b"0\r\nX: y\r\n" + SMUGGLED,
    }.items()
}
