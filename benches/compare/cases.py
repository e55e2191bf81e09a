"""The cases of the comparison: what is asked, how hard, and what is to be reached."""

import dataclasses

import load


@dataclasses.dataclass(frozen=True)
class Case:
    """`kept`: answered from the cache. `cpu`: the target of Tollgate's processor time against nginx's."""

    name: str
    title: str
    protocol: str
    path: str
    cpu: float | None = None
    method: str = "GET"
    kept: bool = False
    body: str = ""
    large: bool = False

    @property
    def kind(self):
        """Of the file behind a content."""
        return self.path.rsplit("/", 1)[1].split("-")[0]

    def drive(self, world, port, seconds):
        """One measured run."""
        if not self.path:
            return load.handshakes(world, port, seconds)
        body = world.folder / self.body if self.body else None
        if self.large:
            # Whole transfers are counted: what is cut off at the end of a time would cost and not count.
            return load.h2load(world, port, [self.path], LARGE_CONNECTIONS, count=LARGE_PER_SECOND * seconds, h1=True,
                               body=body)
        if self.protocol == "1.1":
            connections = UPLOAD_CONNECTIONS if body else CONNECTIONS
            many = load.ROTATION if "NUMBER" in self.path else 1
            return load.wrk(world, port, seconds, self.path, connections, self.method, paths=many, rotation=many,
                            body=body)
        if not self.kept:
            return load.h2load_apart(world, port, self.path, H2_CONNECTIONS, H2_STREAMS, seconds)
        return load.h2load(world, port, [self.path], H2_CONNECTIONS, H2_STREAMS, seconds=seconds, method=self.method)


CONNECTIONS = 64
H2_CONNECTIONS, H2_STREAMS = 8, 16
UPLOAD_CONNECTIONS = 8
LARGE_CONNECTIONS = 4
LARGE_PER_SECOND = 4

PICTURE, LARGE = "/v1/contents/picture-1", "/v1/contents/large-1"
# Another person with every request: of equal GETs that meet, Tollgate sends one.
PERSON = "/v1/people/NUMBER"
CASES = (
    Case("get-h1", "content 44,752 B from cache, h1, 64 connections", "1.1", PICTURE, 0.45, kept=True),
    Case("get-h2", "content 44,752 B from cache, h2, 8 x 16", "2", PICTURE, 0.55, kept=True),
    Case("head-h2", "content HEAD from cache, h2, 8 x 16", "2", PICTURE, 0.35, "HEAD", kept=True),
    Case("get-100mb", "content 100 MiB from cache, h1, 4 connections", "1.1", LARGE, 0.45, kept=True, large=True),
    Case("pass-h1", "pass-through 1 KB JSON, h1, 64 connections", "1.1", PERSON, 0.90),
    Case("pass-h2", "pass-through 1 KB JSON, h2, 8 x 16", "2", PERSON, 0.80),
    Case("upload-1mb", "upload 1 MiB, h1, 8 connections", "1.1", "/v1/messages", None, "POST", body="upload-1"),
    Case("upload-100mb", "upload 100 MiB, h1, 4 connections", "1.1", "/v1/messages", None, "POST",
         body="upload-100", large=True),
    Case("handshake", "full TLS 1.3 handshake", "1.1", "", 0.65),
)
