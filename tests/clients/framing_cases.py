"""Requests over HTTP/1.1 whose end two parsers could see in two places, and what must become of each.

`%T` stands for a token that no other request uses. Every request is followed by an honest-looking `suffix`.
"""

import typing

SMUGGLED = b"GET /v1/smuggled HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer evil\r\n\r\n"


class Case(typing.NamedTuple):
    """`outcomes`: "refused" (an error, then the end), "once" (forwarded, then the end), "piped" (forwarded, and the
    suffix is the next request), "answered" (an error, and the suffix is the next request)."""

    sent: bytes
    outcomes: tuple
    body: bytes = b""
    method: str = "POST"
    target: str = "/v1/messages"


def head(fields, line=b"POST /v1/messages HTTP/1.1", host=b"Host: localhost\r\n"):
    return line + b"\r\n" + host + b"Authorization: Bearer %T\r\n" + fields + b"\r\n\r\n"


def refused(fields, body=b"", **options):
    return Case(head(fields, **options) + body, ("refused",))


def either(fields, sent, body):
    """Forwarded as exactly this, or refused: the grammar lets a server choose."""
    return Case(head(fields) + sent, ("piped", "refused"), body)


def piped(fields, sent=b"", body=None, **options):
    return Case(head(fields) + sent, ("piped",), sent if body is None else body, **options)


HELLO = b"5\r\nhello\r\n0\r\n\r\n"
# What a parser that believes the other field takes for the next request.
HIDDEN = b"0\r\n\r\n" + SMUGGLED
CHUNKED = b"Transfer-Encoding: chunked"

CODINGS = {
    **{
        f"coding {value!r}": piped(b"Transfer-Encoding:" + value, HELLO, b"hello")
        for value in [b"chunked", b" chunked", b"\tchunked", b" chunked\t ", b" CHUNKED", b" cHuNkEd"]
    },
    **{
        f"coding {value!r}": refused(b"Transfer-Encoding: " + value, HIDDEN)
        for value in [
            b"identity", b"chunked, identity", b"identity, chunked", b"gzip, chunked", b"chunked, gzip", b"xchunked",
            b"chunkedx", b"x chunked", b"chunked chunked", b"chunked, chunked", b"chunked;q=1", b"chunked; ", b'"chunked"',
            b"'chunked'", b"chunked,", b",chunked", b", ,chunked", b"", b"\x0bchunked", b"chunked\x0b", b"\x0cchunked",
            b"chun\0ked", b"chunked\0", b"\xa0chunked", b"chunked\xa0", b"\xff chunked", b"chunk", b"compress", b"cow",
            b"\r\n chunked", b"chunked\r\n ", b"chunked\r\n\tx", b"\n chunked", b"trailers",
        ]
    },
    "two codings": refused(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", HIDDEN),
    "chunked then identity": refused(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", HIDDEN),
    "identity then chunked": refused(b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked", HIDDEN),
    "cow then chunked": refused(b"Transfer-Encoding: cow\r\ntransfer-encoding: chunked", HIDDEN),
    "space before the colon": refused(b"Transfer-Encoding : chunked", HIDDEN),
    "tab before the colon": refused(b"Transfer-Encoding\t: chunked", HIDDEN),
    "coding behind a fold": refused(b"X-A: a\r\n Transfer-Encoding: chunked\r\nContent-Length: 5", HIDDEN),
    "coding behind CR": refused(b"X-A: a\rTransfer-Encoding: chunked\r\nContent-Length: 5", HIDDEN),
    "coding behind LF": refused(b"X-A: a\nTransfer-Encoding: chunked\r\nContent-Length: 5", HIDDEN),
    "NUL in the name": refused(b"Transfer-Encoding\0: chunked\r\nContent-Length: 5", HIDDEN),
    "CR in the name": refused(b"Transfer-Encoding\r: chunked\r\nContent-Length: 5", HIDDEN),
    "underscore": piped(b"Transfer_Encoding: chunked\r\nContent-Length: 5", b"hello"),
    "HTTP/1.0 chunks": refused(CHUNKED, HIDDEN, line=b"POST /v1/messages HTTP/1.0"),
    "HTTP/1.0 chunks kept alive": refused(
        CHUNKED + b"\r\nConnection: keep-alive", HIDDEN, line=b"POST /v1/messages HTTP/1.0"
    ),
}

BOTH = {
    f"both {name}": refused(fields, HIDDEN)
    for name, fields in {
        "length first": b"Content-Length: %d\r\n" % len(HIDDEN) + CHUNKED,
        "coding first": CHUNKED + b"\r\nContent-Length: %d" % len(HIDDEN),
        "length short": b"Content-Length: 4\r\n" + CHUNKED,
        "length zero": b"Content-Length: 0\r\n" + CHUNKED,
        "around": b"Content-Length: 5\r\n" + CHUNKED + b"\r\nContent-Length: 7",
        "bad length last": CHUNKED + b"\r\nContent-Length: x",
        "bad length first": b"Content-Length: x\r\n" + CHUNKED,
        "kept alive": b"Connection: keep-alive\r\nContent-Length: 5\r\n" + CHUNKED,
    }.items()
} | {
    "both, coding unknown": refused(b"Content-Length: 5\r\nTransfer-Encoding: xchunked", b"hello"),
    "both, coding listed as hop": refused(
        b"Connection: transfer-encoding\r\nContent-Length: 5\r\n" + CHUNKED, HIDDEN
    ),
}

LENGTHS = {
    "length": piped(b"Content-Length: 5", b"hello"),
    "no space": piped(b"Content-Length:5", b"hello"),
    "tabs": piped(b"Content-Length:\t5\t", b"hello"),
    "underscore": piped(b"Content_Length: 99\r\nContent-Length: 5", b"hello"),
    "none at all": piped(b"X-A: 1"),
    "zero": piped(b"Content-Length: 0"),
    "leading zeros": either(b"Content-Length: 005", b"hello", b"hello"),
    "twice the same": either(b"Content-Length: 5\r\nContent-Length: 5", b"hello", b"hello"),
    "a list of the same": either(b"Content-Length: 5, 5", b"hello", b"hello"),
    "short then long": refused(b"Content-Length: 5\r\nContent-Length: 60", b"hello" + SMUGGLED),
    "long then short": refused(b"Content-Length: 60\r\nContent-Length: 5", b"hello" + SMUGGLED),
    "zero then long": refused(b"Content-Length: 0\r\nContent-Length: 60", SMUGGLED),
    "same number, other text": either(b"Content-Length: 5\r\nContent-Length: 05", b"hello", b"hello"),
    "a fold": refused(b"Content-Length: 5\r\n 0", b"hello" + SMUGGLED),
    "space before the colon": refused(b"Content-Length : 5", b"hello" + SMUGGLED),
    "HTTP/1.0": Case(
        head(b"Content-Length: 5\r\nConnection: keep-alive", line=b"POST /v1/messages HTTP/1.0") + b"hello",
        ("piped", "once"), b"hello",
    ),
    **{
        f"{value!r}": refused(b"Content-Length: " + value, b"hello" + SMUGGLED)
        for value in [
            b"+5", b"-5", b"-0", b"0x5", b"5x", b"5 5", b"5;", b"5,6", b"5,", b",5", b"5.0", b"5e0", b"1_0", b"", b"five",
            "٥".encode(), b"\xb2", b"5\x0b", b"\x0b5", b"5\0", b"\x005", b"5\r0", b"'5'", b'"5"', b"18446744073709551615",
            b"18446744073709551616", b"18446744073709551621", b"9223372036854775808", b"4294967301000000000000000000005",
        ]
    },
    **{
        f"{method} with a body": Case(
            head(b"Content-Length: %d" % len(SMUGGLED), line=method.encode() + b" /v1/messages/x HTTP/1.1") + SMUGGLED,
            ("piped",), SMUGGLED, method, "/v1/messages/x",
        )
        for method in ["GET", "HEAD", "DELETE", "PUT", "PATCH", "OPTIONS", "PROPFIND"]
    },
}

BAD_SIZES = [
    b"0x5", b"+5", b"-5", b"", b" 5", b"\t5", b"5_", b"_5", b"5 5", b"5,", b"g", "٥".encode(), b"10000000000000005",
    b"FFFFFFFFFFFFFFFF0", b"5\0", b"\x005", b"5\x0b", b"5\xa0", b"5h", b"5\r", b"5\r\r", b"\r\n5", b"5.", b"0.5", b"#5",
]
CHUNKS = {
    **{f"size {size!r}": refused(CHUNKED, size + b"\r\nhello\r\n0\r\n\r\n" + SMUGGLED) for size in BAD_SIZES},
    "size ends with LF": refused(CHUNKED, b"5\nhello\r\n0\r\n\r\n"),
    "size too small": refused(CHUNKED, b"3\r\nhello\r\n0\r\n\r\n"),
    "size too small, hidden": refused(CHUNKED, b"3\r\nabc" + HIDDEN),
    "data without end": refused(CHUNKED, b"5\r\nhello0\r\n\r\n"),
    "data ends with LF": refused(CHUNKED, b"5\r\nhello\n0\r\n\r\n"),
    "data ends with CR": refused(CHUNKED, b"5\r\nhello\r0\r\n\r\n"),
    "data ends with CR CR LF": refused(CHUNKED, b"5\r\nhello\r\r\n0\r\n\r\n"),
    "last chunk LF": refused(CHUNKED, b"5\r\nhello\r\n0\n\n"),
    "last chunk CRLF LF": refused(CHUNKED, b"5\r\nhello\r\n0\r\n\n"),
    "last chunk LF CRLF": refused(CHUNKED, b"5\r\nhello\r\n0\n\r\n"),
    "last chunk CR": refused(CHUNKED, b"5\r\nhello\r\n0\r\r\n\r\n"),
    "minus zero": refused(CHUNKED, b"5\r\nhello\r\n-0\r\n\r\n"),
    "hexadecimal": piped(CHUNKED, b"A\r\n0123456789\r\nb\r\n01234567890\r\n0\r\n\r\n", b"0123456789" * 2 + b"0"),
    "zeros before": either(CHUNKED, b"0" * 30 + b"5\r\nhello\r\n000\r\n\r\n", b"hello"),
    "spaces behind": either(CHUNKED, b"5 \t\r\nhello\r\n0\r\n\r\n", b"hello"),
    "no data": piped(CHUNKED, b"0\r\n\r\n", b""),
    "extension": either(CHUNKED, b"5;a=b\r\nhello\r\n0;c\r\n\r\n", b"hello"),
    "extension, quoted": either(CHUNKED, b'5;a="\\"; 0"\r\nhello\r\n0\r\n\r\n', b"hello"),
    "extension, empty": either(CHUNKED, b"5;\r\nhello\r\n0\r\n\r\n", b"hello"),
    "extension, NUL": either(CHUNKED, b"5;a=\0\r\nhello\r\n0\r\n\r\n", b"hello"),
    "extension with LF": refused(CHUNKED, b"5;a\nhello\r\n" + HIDDEN),
    "extension with LF, quoted": refused(CHUNKED, b'5;a="\n"\r\nhello\r\n' + HIDDEN),
    "extension with CR": refused(CHUNKED, b"5;a\rb\r\nhello\r\n" + HIDDEN),
    "extension of 20 kB": refused(CHUNKED, b"5;" + b"a" * 20_000 + b"\r\nhello\r\n" + HIDDEN),
    "extensions of 20 kB": refused(CHUNKED, (b"1;" + b"a" * 1000 + b"\r\nx\r\n") * 20 + HIDDEN),
    "trailer folded": refused(CHUNKED, b"5\r\nhello\r\n0\r\nX-A: 1\r\n b\r\n\r\n"),
    "trailer NUL": refused(CHUNKED, b"5\r\nhello\r\n0\r\nX-A: \0\r\n\r\n"),
    "trailer LF": refused(CHUNKED, b"5\r\nhello\r\n0\r\nX-A: 1\nX-B: 2\r\n\r\n"),
    "trailer without colon": refused(CHUNKED, b"5\r\nhello\r\n0\r\nGET /v1/smuggled HTTP/1.1\r\n\r\n"),
    "trailer space before colon": refused(CHUNKED, b"5\r\nhello\r\n0\r\nX-A : 1\r\n\r\n"),
    "trailers, 200": refused(CHUNKED, b"5\r\nhello\r\n0\r\n" + b"X-A: 1\r\n" * 200 + b"\r\n"),
    "trailer of 40 kB": refused(CHUNKED, b"5\r\nhello\r\n0\r\nX-A: " + b"a" * 40_000 + b"\r\n\r\n"),
    **{
        f"trailer {name}": piped(
            b"Trailer: %s\r\nTE: trailers\r\n%s" % (name, CHUNKED),
            b"5\r\nhello\r\n0\r\n%s: %s\r\n\r\n" % (name, value), b"hello",
        )
        for name, value in {
            b"Authorization": b"Bearer evil", b"Content-Length": b"3", b"Transfer-Encoding": b"chunked",
            b"Host": b"evil.example", b"Connection": b"close", b"Cookie": b"a=b", b"Content-Type": b"text/html",
        }.items()
    },
}
