"""What the TLS listener refuses, asked by openssl: old versions, weak suites, early data, renegotiation, compression."""

import re
import subprocess

import pytest

# An openssl that would take anything, so that it is the listener who refuses.
LAX = "ALL:COMPLEMENTOFALL@SECLEVEL=0"
STRONG = {"ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"}


@pytest.fixture(scope="module")
def shake(shared_proxy):
    """A handshake as openssl tells it, and whatever is typed into it."""

    def shake(*flags, typed=""):
        place = ["-connect", f"127.0.0.1:{shared_proxy.https_port}", "-servername", "localhost", "-CAfile", shared_proxy.ca]
        command = ["openssl", "s_client", *place, "-verify_return_error", *flags]
        done = subprocess.run(command, input=typed, capture_output=True, text=True, errors="replace", timeout=20)
        return done.returncode, done.stdout + done.stderr

    return shake


def suite_of(text):
    found = re.search(r"^New, .*, Cipher is (\S+)$", text, re.M)
    return found and found[1]


@pytest.mark.parametrize("version", ["-tls1", "-tls1_1"])
def test_versions_before_12_are_refused(shake, version):
    code, text = shake(version, "-cipher", LAX)
    # protocol_version, or handshake_failure: rustls looks at the other's suites first.
    assert code != 0 and re.search(r"SSL alert number (40|70)\b", text), text


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_what_is_agreed_is_forward_secret_authenticated_and_not_compressed(shake, version):
    code, text = shake(version)
    assert code == 0, text
    assert suite_of(text) in STRONG | {"TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256"}
    assert "Compression: NONE" in text
    assert re.search(r"Server Temp Key: (X25519|ECDH, (P-256|prime256v1|P-384))", text), text


def test_every_weak_suite_is_refused(shake):
    all_of_them = subprocess.run(["openssl", "ciphers", "-s", "-tls1_2", LAX], capture_output=True, text=True, timeout=20)
    offered = set(all_of_them.stdout.strip().split(":"))
    weak = {suite for suite in offered if not suite.startswith("TLS_")} - STRONG
    assert len(weak) > 20
    code, text = shake("-tls1_2", "-cipher", ":".join(sorted(weak)) + ":@SECLEVEL=0")
    assert code != 0 and "alert handshake failure" in text, text


def test_no_early_data_is_taken(shake, tmp_path):
    """A request in early data could be sent again by whoever recorded it."""
    session = tmp_path / "session"
    code, text = shake("-tls1_3", "-sess_out", session, "-ign_eof", typed="GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
    assert session.exists(), text
    assert set(re.findall(r"Max Early Data: (\d+)", text)) == {"0"}
    early = tmp_path / "early"
    early.write_text("POST /v1/messages HTTP/1.1\r\nHost: localhost\r\n\r\n")
    _, text = shake("-tls1_3", "-sess_in", session, "-early_data", early)
    assert "Early data was accepted" not in text


def test_nobody_renegotiates(shake):
    code, text = shake("-tls1_2", "-legacy_renegotiation", typed="R\nGET / HTTP/1.0\r\n\r\n")
    assert "RENEGOTIATING" in text
    assert code != 0 and re.search(r"no renegotiation|alert|closed|unexpected", text), text
    assert "HTTP/1." not in text
