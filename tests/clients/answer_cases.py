"""Answers over HTTP/1.1 that two parsers could read differently, and what the client may get of each.

`MINE` is the body of the asker's own answer. What stands behind an answer's end would be the next asker's, if it counted.
"""

import typing

MINE = b'{"mine": 1}'
POISON = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{"evil":1}'
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


class Case(typing.NamedTuple):
    """`outcomes`: "right" (status and body as they are meant), "bad" (502 of our own), "broken" (begun, visibly not
    ended). `method`: of the request. `reused`: the connection may carry another request."""

    sent: bytes
    outcomes: tuple
    body: bytes = MINE
    status: int = 200
    method: str = "GET"
    reused: bool = False


def bad(fields, body=MINE, **options):
    return Case(OK + fields + b"\r\n\r\n" + body, ("bad",), **options)


def cut(fields, body):
    return Case(OK + fields + b"\r\n\r\n" + body, ("bad", "broken"))


def right(fields, body, *others, **options):
    return Case(OK + fields + b"\r\n\r\n" + body, ("right", *others), **options)


def chunked(*parts):
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


CHUNKED, LENGTH = b"Transfer-Encoding: chunked", b"Content-Length: %d" % len(MINE)

PLAIN = {
    "length": right(LENGTH, MINE, reused=True),
    "chunks": right(CHUNKED, chunked(MINE[:3], MINE[3:]), reused=True),
    "chunk extensions": right(CHUNKED, b"b;a=b\r\n%s\r\n0;c\r\n\r\n" % MINE, "bad", "broken", reused=True),
    "twice the same length": right(LENGTH + b"\r\n" + LENGTH, MINE, "bad", reused=True),
    "a list of the same length": right(b"Content-Length: 11, 11", MINE, "bad", reused=True),
    "HTTP/1.0 to the close": Case(b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n" + MINE, ("right",)),
    "to the close": right(b"X-A: 1", MINE),
}

FRAMING = {
    "length and chunks": right(LENGTH + b"\r\n" + CHUNKED, chunked(MINE) + POISON, "bad"),
    "chunks and length": right(CHUNKED + b"\r\nContent-Length: 5", chunked(MINE) + POISON, "bad"),
    "two lengths": bad(b"Content-Length: 5\r\nContent-Length: 11"),
    "two lengths, long first": bad(b"Content-Length: 11\r\nContent-Length: 5"),
    **{
        f"length {value!r}": bad(b"Content-Length: " + value)
        for value in [b"+11", b"-1", b"0x0b", b"11 11", b"11,5", b"11;", b"", b"eleven", b"18446744073709551627", b"11\0", b"11\x0b", b"1_1"]
    },
    **{
        f"coding {value!r}": Case(OK + b"Transfer-Encoding: %s\r\n\r\n%s" % (value, chunked(MINE)), ("bad",))
        for value in [
            b"gzip, chunked", b"identity, chunked", b"chunked, chunked", b"chunked, identity", b"xchunked", b"cow", b"identity", b"gzip",
            b"chunked;q=1", b'"chunked"', b"", b"\x0bchunked", b"chunked,", b",chunked", b"chun\0ked", b"\r\n chunked",
        ]
    },
    "coding twice": bad(CHUNKED + b"\r\n" + CHUNKED, chunked(MINE)),
    "HTTP/1.0 chunks": Case(b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(MINE), ("bad",)),
    "coding before the colon": bad(b"Transfer-Encoding : chunked", chunked(MINE)),
}

CHUNKS = {
    **{
        f"size {size!r}": cut(CHUNKED, size + b"\r\n" + MINE + b"\r\n0\r\n\r\n" + POISON)
        for size in [b"0xb", b"+b", b"-b", b"", b" b", b"g", b"b_", b"FFFFFFFFFFFFFFFFF", b"b\0", b"b\r", b"\xd9\xa5"]
    },
    "size ends with LF": cut(CHUNKED, b"b\n" + MINE + b"\r\n0\r\n\r\n"),
    "data longer than its size": cut(CHUNKED, b"3\r\n" + MINE + b"\r\n0\r\n\r\n"),
    "data shorter than its size": cut(CHUNKED, b"c\r\n" + MINE + b"\r\n0\r\n\r\n" + POISON),
    "extension with LF": cut(CHUNKED, b"b;a\n" + MINE + b"\r\n0\r\n\r\n"),
    "extension of 20 kB": cut(CHUNKED, b"b;" + b"a" * 20_000 + b"\r\n" + MINE + b"\r\n0\r\n\r\n"),
    "cut behind the data": cut(CHUNKED, b"b\r\n" + MINE + b"\r\n"),
    "cut in the last chunk": cut(CHUNKED, b"b\r\n" + MINE + b"\r\n0\r\n"),
    "cut length": cut(b"Content-Length: 12", MINE),
    "trailer with NUL": cut(CHUNKED, b"b\r\n" + MINE + b"\r\n0\r\nX-A: \0\r\n\r\n"),
    "trailer folded": cut(CHUNKED, b"b\r\n" + MINE + b"\r\n0\r\nX-A: 1\r\n b\r\n\r\n"),
    "200 trailers": cut(CHUNKED, b"b\r\n" + MINE + b"\r\n0\r\n" + b"X-A: 1\r\n" * 200 + b"\r\n"),
    "trailer of 200 kB": cut(CHUNKED, b"b\r\n" + MINE + b"\r\n0\r\nX-A: " + b"a" * 200_000 + b"\r\n\r\n"),
    "trailers that frame": right(
        CHUNKED + b"\r\nTrailer: Content-Length, Set-Cookie, Transfer-Encoding",
        b"b\r\n" + MINE + b"\r\n0\r\nContent-Length: 3\r\nSet-Cookie: a=b\r\nTransfer-Encoding: chunked\r\n\r\n", reused=True,
    ),
}

HEADS = {
    **{
        name: Case(head + b"\r\n\r\n" + MINE, ("bad",))
        for name, head in {
            "folded": OK + b"X-A: 1\r\n 2\r\n" + LENGTH,
            "space before the colon": OK + b"X-A : 1\r\n" + LENGTH,
            "length with space before the colon": OK + b"Content-Length : 11",
            "empty name": OK + b": 1\r\n" + LENGTH,
            "no colon": OK + b"X-A\r\n" + LENGTH,
            "space in a name": OK + b"X A: 1\r\n" + LENGTH,
            "CR in a value": OK + b"X-A: 1\rX-B: 2\r\n" + LENGTH,
            "NUL in a value": OK + b"X-A: \0\r\n" + LENGTH,
            "NUL in a name": OK + b"X\0A: 1\r\n" + LENGTH,
            "control in a value": OK + b"X-A: \x01\r\n" + LENGTH,
            "DEL in a value": OK + b"X-A: \x7f\r\n" + LENGTH,
            "129 fields": OK + b"X-A: 1\r\n" * 129 + LENGTH,
            "a field of 200 kB": OK + b"X-A: " + b"a" * 200_000 + b"\r\n" + LENGTH,
            "no status": b"HTTP/1.1 OK\r\n" + LENGTH,
            "status 99": b"HTTP/1.1 99 Low\r\n" + LENGTH,
            "status 20": b"HTTP/1.1 20 OK\r\n" + LENGTH,
            "status 2000": b"HTTP/1.1 2000 OK\r\n" + LENGTH,
            "HTTP/2.0": b"HTTP/2.0 200 OK\r\n" + LENGTH,
            "HTTP/0.9": b"<html>",
            "NUL in the reason": b"HTTP/1.1 200 O\0K\r\n" + LENGTH,
            "101": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade",
            "100 alone": b"HTTP/1.1 100 Continue",
            "an endless head": OK + b"X-A: a\r\n" * 20_000,
        }.items()
    },
    "90 fields": right(b"X-A: 1\r\n" * 90 + LENGTH, MINE, reused=True),
}


def final(head, method="GET", status=200, body=b"", reused=False, extra=b""):
    return Case(head + b"\r\n\r\n" + extra, ("right", "bad"), body, status, method, reused)


# The end of these is their head's, whatever they say; what follows is nobody's.
BODILESS = {
    "204 with a length": final(b"HTTP/1.1 204 No Content\r\nContent-Length: %d" % len(POISON), "DELETE", 204, extra=POISON),
    "204 with chunks": final(b"HTTP/1.1 204 No Content\r\n" + CHUNKED, "DELETE", 204, extra=chunked(POISON)),
    "204 and more": final(b"HTTP/1.1 204 No Content", "DELETE", 204, extra=POISON),
    "205 with a length": final(b"HTTP/1.1 205 Reset Content\r\nContent-Length: %d" % len(POISON), "POST", 205, extra=POISON),
    "205 with chunks": final(b"HTTP/1.1 205 Reset Content\r\n" + CHUNKED, "POST", 205, extra=chunked(POISON)),
    "205 with broken chunks": final(b"HTTP/1.1 205 Reset Content\r\n" + CHUNKED, "POST", 205, extra=b"5\r\nshort\r\nart"),
    "205 to the close": final(b"HTTP/1.1 205 Reset Content", "POST", 205, extra=POISON),
    "304 with a body": final(b"HTTP/1.1 304 Not Modified\r\nContent-Length: %d" % len(POISON), "GET", 304, extra=POISON),
    "HEAD with a body": final(OK + b"Content-Length: %d" % len(POISON), "HEAD", extra=POISON),
    "HEAD with chunks": final(OK + CHUNKED, "HEAD", extra=chunked(POISON)),
    "1xx with a length": Case(
        b"HTTP/1.1 103 Early Hints\r\nContent-Length: %d\r\n\r\n" % len(POISON) + OK + LENGTH + b"\r\n\r\n" + MINE, ("right", "bad"),
    ),
}

# An answer, whole and well framed, and what an upstream must not say behind it.
BEHIND = {
    "a second answer": POISON,
    "a byte": b"x",
    "an empty line": b"\r\n",
    "half an answer": POISON[:40],
    "ten answers": POISON * 10,
    "an interim answer": b"HTTP/1.1 100 Continue\r\n\r\n",
    "an interim and a second answer": b"HTTP/1.1 100 Continue\r\n\r\n" + POISON,
}
