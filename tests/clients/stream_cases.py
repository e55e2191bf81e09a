"""Requests over HTTP/2 that would become two, or other ones, where they are written as HTTP/1.1."""

import typing

SMUGGLED = b"GET /v1/smuggled HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer evil\r\n\r\n"
REFUSED, FORWARDED = ("refused",), ("forwarded",)


class Case(typing.NamedTuple):
    """`frames`: what follows the header block, `None` for nothing; `outcomes`: "refused" or "forwarded"."""

    fields: list
    outcomes: tuple = REFUSED
    data: bytes = None
    trailers: list = None
    body: bytes = b""
    method: str = "POST"
    target: str = "/v1/messages"


def fields(*more, without=(), method="POST", scheme="https", authority="localhost", path="/v1/messages"):
    pseudo = [(":method", method), (":scheme", scheme), (":authority", authority), (":path", path)]
    own = [("authorization", "Bearer %T")]
    return [field for field in pseudo + own + list(more) if field[0] not in without]


CONNECTION = {
    name: Case(fields((name, value), ("content-length", "5")), data=b"hello")
    for name, value in {
        "connection": "close", "keep-alive": "timeout=5", "proxy-connection": "keep-alive", "transfer-encoding": "chunked",
        "upgrade": "h2c", "te": "gzip",
    }.items()
} | {
    "te: trailers, gzip": Case(fields(("te", "trailers, gzip"))),
    "te: trailers": Case(fields(("te", "trailers")), FORWARDED),
    "http2-settings": Case(fields(("http2-settings", "AAMAAABkAARAAAAAAAIAAAAA")), (*REFUSED, *FORWARDED)),
    "transfer-encoding without a body": Case(fields(("transfer-encoding", "chunked"))),
    "transfer-encoding, smuggling": Case(fields(("transfer-encoding", "chunked")), data=b"0\r\n\r\n" + SMUGGLED),
}

PSEUDO = {
    **{f"no {name}": Case(fields(without=(name,))) for name in [":method", ":scheme", ":path", ":authority"]},
    **{
        f"two {name}": Case([(name, value), *fields()])
        for name, value in {":method": "GET", ":scheme": "https", ":path": "/v1/smuggled", ":authority": "localhost"}.items()
    },
    "no authority but a host": Case(fields(("host", "localhost"), without=(":authority",)), FORWARDED),
    "no authority but two hosts": Case(fields(("host", "localhost"), ("host", "evil.example"), without=(":authority",))),
    "authority and the same host": Case(fields(("host", "localhost")), (*REFUSED, *FORWARDED)),
    "authority and another host": Case(fields(("host", "evil.example"))),
    "authority and two hosts": Case(fields(("host", "localhost"), ("host", "localhost"))),
    "unknown": Case([*fields()[:4], (":evil", "1"), *fields()[4:]]),
    "status": Case([(":status", "200"), *fields()]),
    "protocol": Case([(":protocol", "websocket"), *fields()]),
    "empty name": Case(fields(("", "1"))),
    "colon alone": Case([(":", "1"), *fields()]),
    "behind a field": Case([*fields(without=(":path",)), (":path", "/v1/messages")]),
    "method behind a field": Case([*fields(without=(":method",)), (":method", "GET")]),
    "upper-case": Case([(":Method", "POST"), *fields(without=(":method",))]),
}

EVIL = ["\r", "\n", "\0", "\r\n", "\r\nTransfer-Encoding: chunked\r\n\r\n", " HTTP/1.1\r\nHost: localhost\r\n\r\nGET /v1/smuggled"]
VALUES = {
    **{f"{evil!r} in a value": Case(fields(("x-a", f"a{evil}b"))) for evil in [*EVIL[:5], "\x0b", "\x7f", "\x01"]},
    **{f"{evil!r} in a name": Case(fields((f"x{evil}a", "1"))) for evil in [*EVIL, " ", ":", "\t", "(", "A", "\x80", "\x7f", "/"]},
    **{f"{evil!r} before a name": Case(fields((f"{evil}x-a", "1"))) for evil in [" ", "\r\n", "\n", ":"]},
    **{f"{evil!r} in the path": Case(fields(path=f"/v1/me{evil}ssages")) for evil in [*EVIL, "\x7f", " ", "\t"]},
    **{f"{evil!r} in the method": Case(fields(method=f"PO{evil}ST")) for evil in [*EVIL, " ", "/", ":", "\x7f"]},
    **{f"{evil!r} in the authority": Case(fields(authority=f"local{evil}host")) for evil in [*EVIL, " ", "/", "\\", "?", "#", "@", ",", "\x7f"]},
    **{f"{evil!r} in the scheme": Case(fields(scheme=f"http{evil}s")) for evil in [*EVIL, " ", "/", ":", "\x7f"]},
    **{f"value {value!r}": Case(fields(("x-a", value))) for value in [" a", "a ", "\ta", "a\t", " "]},
    "padded credential": Case([*fields(without=("authorization",)), ("authorization", " Bearer %T")]),
    "padded length": Case(fields(("content-length", " 5")), data=b"hello"),
    "method of 33 bytes": Case(fields(method="M" * 33)),
    "method as request line": Case(fields(method="GET /v1/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\nPOST")),
}

TARGETS = {
    **{
        f"path {path!r}": Case(fields(path=path))
        for path in [
            "", "*", "v1/messages", "@evil.example/v1", ".evil.example/v1", ":80/v1", "?v1", "//evil.example/v1", "///v1", "\\v1",
            "/v1/../messages", "/v1/%2e%2e/x", "/v1%2fmessages", "http://localhost/v1/messages", "http://evil.example/v1",
            "/v1/" + "a" * 9000,
        ]
    },
    "path with a fragment": Case(fields(path="/v1/messages#x"), (*REFUSED, *FORWARDED)),
    **{
        f"authority {authority!r}": Case(fields(authority=authority))
        for authority in ["", "evil.example", "user@localhost", "localhost@evil.example", "localhost:abc", "localhost, evil.example", "http://localhost"]
    },
    **{f"scheme {scheme!r}": Case(fields(scheme=scheme)) for scheme in ["", "ftp", "file", "gopher"]},
    "scheme http": Case(fields(scheme="http"), (*REFUSED, *FORWARDED)),
    "tunnel": Case([(":method", "CONNECT"), (":authority", "webexapis.com:443"), ("authorization", "Bearer %T")], data=SMUGGLED),
    "tunnel to ourselves": Case([(":method", "CONNECT"), (":authority", "localhost"), ("authorization", "Bearer %T")], data=SMUGGLED),
    "tunnel with a path": Case(fields(method="CONNECT"), data=SMUGGLED),
    "extended tunnel": Case([(":protocol", "websocket"), *fields(method="CONNECT")], data=SMUGGLED),
    "trace": Case(fields(method="TRACE")),
    "preface as a method": Case(fields(method="PRI", path="*")),
}

BODIES = {
    "length": Case(fields(("content-length", "5")), FORWARDED, b"hello", body=b"hello"),
    "no length": Case(fields(), FORWARDED, b"hello", body=b"hello"),
    "a body that looks like a request": Case(fields(), FORWARDED, SMUGGLED, body=SMUGGLED),
    "a body that looks like chunks": Case(fields(), FORWARDED, b"0\r\n\r\n" + SMUGGLED, body=b"0\r\n\r\n" + SMUGGLED),
    "empty with length 0": Case(fields(("content-length", "0")), FORWARDED, b""),
    "length short": Case(fields(("content-length", "4")), data=b"hello"),
    "length 0, smuggling": Case(fields(("content-length", "0")), data=SMUGGLED),
    "length long": Case(fields(("content-length", "6")), data=b"hello"),
    "length without data": Case(fields(("content-length", "5"))),
    "length without data, empty frame": Case(fields(("content-length", "5")), data=b""),
    "get with length, no data": Case(fields(("content-length", "5"), method="GET")),
    "get with a body": Case(fields(method="GET"), FORWARDED, SMUGGLED, body=SMUGGLED, method="GET"),
    "head with a body": Case(fields(method="HEAD"), FORWARDED, SMUGGLED, body=SMUGGLED, method="HEAD"),
    "two lengths": Case(fields(("content-length", "5"), ("content-length", "6")), data=b"hello"),
    "two lengths, first short": Case(fields(("content-length", "4"), ("content-length", "5")), data=b"hello"),
    "twice the same length": Case(fields(("content-length", "5"), ("content-length", "5")), (*REFUSED, *FORWARDED), b"hello", body=b"hello"),
    **{
        f"length {length!r}": Case(fields(("content-length", length)), data=b"hello")
        for length in ["+5", "-5", "0x5", "5, 5", "5,6", "", "five", "18446744073709551621", "5;"]
    },
    **{
        f"trailer {name!r}": Case(fields(("trailer", name)), (*REFUSED, *FORWARDED), b"hello", [(name, value)], b"hello")
        for name, value in {
            "authorization": "Bearer evil", "content-length": "3", "host": "evil.example", "cookie": "a=b", "content-type": "text/html",
            "te": "trailers",
        }.items()
    },
    **{
        f"trailer {name!r}: {value!r}": Case(fields(("trailer", "x-a")), data=b"hello", trailers=[(name, value)])
        for name, value in [
            ("transfer-encoding", "chunked"), ("connection", "close"), ("X-A", "1"), ("x-a", "a\r\nb"), ("x-a\r\nb", "1"), ("x-a", "\0"),
        ]
    },
    # The h2 crate drops them unseen instead of calling the stream malformed: then nobody behind may see them either.
    **{
        f"trailer {name!r}": Case(fields(), (*REFUSED, *FORWARDED), b"hello", [(name, value)], b"hello")
        for name, value in {":path": "/v1/smuggled", ":method": "GET", ":status": "200"}.items()
    },
}

CREDENTIALS = {
    "two": Case(fields(("authorization", "Bearer evil"))),
    "twice the same": Case(fields(("authorization", "Bearer %T"))),
    "upper-case": Case(fields(("Authorization", "Bearer evil"))),
    "cookie crumbs": Case(fields(("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3")), FORWARDED),
    "70 cookie crumbs": Case(fields(*[("cookie", f"a{number}=1") for number in range(70)])),
    "70 fields": Case(fields(*[(f"x-{number}", "1") for number in range(70)])),
    "a list of 20 kB": Case(fields(("x-a", "a" * 20_000))),
}
