"""100 MB up and down at constant memory, and downloads that one slow reader does not swell."""

import hashlib
import time

import pytest

from world import curl

MIB = 1024 * 1024
SIZE = 100_000_000
# TLS and pipe buffers on both sides, a few chunks in flight; the body alone would be 95 MiB.
GROWTH = 64 * MIB


@pytest.fixture
def lean(pair, token):
    """A proxy that keeps nothing larger than 1 MiB, warmed up."""
    sim, proxy = pair(tables={"cache": {"memory": "8MiB", "max_entry": "1MiB"}})
    sim.person(token)
    room = sim.room(token)
    bot = proxy.bot(token)
    bot.post("/v1/messages", files={"files": ("a.bin", b"x" * 2_000_000)}, data={"roomId": room})
    bot.get("/v1/people/me")
    return sim, proxy, room


@pytest.mark.timeout(180)
@pytest.mark.parametrize("protocol", ["--http1.1", "--http2"])
def test_a_hundred_megabytes_pass_both_ways_at_constant_memory(lean, token, tmp_path, protocol, capsys):
    _, proxy, room = lean
    path = tmp_path / "big.bin"
    block = hashlib.sha256(b"big").digest() * 3125
    path.write_bytes(block * (SIZE // len(block)))
    before = proxy.memory_peak()
    head = ["-H", f"Authorization: Bearer {token}", protocol, "--max-time", "120"]
    form = ["--form", f"files=@{path};type=application/octet-stream", "--form", f"roomId={room}"]
    answer = curl(*head, *form, "-w", "\n%{http_code}", f"{proxy.base}/v1/messages", ca=proxy.ca)
    body, _, status = answer.rpartition(b"\n")
    assert status == b"200", answer[:500]
    uploaded = proxy.memory_peak()
    url = body[body.index(b"https://localhost") :].split(b'"')[0].decode()
    saved = tmp_path / "saved.bin"
    curl(*head, "-o", saved, url, ca=proxy.ca)
    downloaded = proxy.memory_peak()
    with capsys.disabled():
        print(
            f"\n  100 MB {protocol[2:]}: {before / MIB:.1f} MiB before, peak {uploaded / MIB:.1f} MiB after the upload, "
            f"{downloaded / MIB:.1f} MiB after the download"
        )
    assert saved.stat().st_size == SIZE
    with saved.open("rb") as one, path.open("rb") as other:
        assert hashlib.file_digest(one, "sha256").digest() == hashlib.file_digest(other, "sha256").digest()
    assert downloaded - before < GROWTH


@pytest.mark.timeout(120)
def test_a_reader_that_stops_does_not_fill_the_memory(lean, token):
    sim, proxy, room = lean
    path = sim.upload(token, room, "big.bin", "application/octet-stream", 60_000_000)
    before = proxy.memory_peak()
    with proxy.bot(token).get(path, stream=True) as answer:
        answer.raw.read(1000)
        time.sleep(4)
        assert proxy.memory_peak() - before < GROWTH
