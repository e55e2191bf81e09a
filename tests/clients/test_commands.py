"""The commands, as a person or a script runs them."""

import concurrent.futures
import hashlib
import json
import re
import socket
import ssl
import subprocess
import time

import pytest
import requests

from world import BINARY, ROOT, Process, toml_of, wait_until


def run(*arguments, seconds=30, **options):
    command = [str(BINARY), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=seconds, **options)


def test_a_good_file_passes(tmp_path):
    path = tmp_path / "good.toml"
    path.write_text('state_dir = "state"\n[gate]\nmax_wait = "20s"\n')
    done = run("check", "--config", path, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_all_faults_are_told_at_once_with_their_places(tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text(
        '[listen]\nhtps = "127.0.0.1:1"\nhttp = "nowhere"\n\n[gate]\nmax_wait = "25"\n  max_gat = "1h"\n'
        "\n[cahe]\nenabled = true\n\n[limits]\nconnections = -1\n"
    )
    done = run("check", "--config", path, cwd=tmp_path)
    assert done.returncode == 2
    told = done.stdout + done.stderr
    for place, words in {
        "bad.toml:2:1": ["listen.htps", '"listen.https"'],
        "bad.toml:3:8": ["listen.http"],
        "bad.toml:6:12": ["gate.max_wait", "25s"],
        "bad.toml:7:3": ['gate.max_gat"', "gate.max_gate"],
        "bad.toml:9:": ["cahe", "cache"],
        "bad.toml:13:15": ["limits.connections"],
    }.items():
        [line] = [line for line in told.splitlines() if place in line] or [""]
        assert line, f"{place} is not told:\n{told}"
        assert all(word in line for word in words), line


@pytest.mark.parametrize(
    "text", ["[listen\n", "x = \n", "[gate]\nmax_wait = '''", "\x00", "[a]\n[a]\n", "a = [" * 2000, "\ufeff[nope]\n"]
)
def test_a_file_that_is_no_toml_is_told_with_its_place(tmp_path, text):
    path = tmp_path / "bad.toml"
    path.write_text(text)
    done = run("check", "--config", path)
    assert done.returncode == 2
    assert re.search(r"bad\.toml:\d+:\d+", done.stdout + done.stderr), done
    assert "panicked" not in done.stderr


def test_a_file_that_is_not_there_is_told(tmp_path):
    done = run("check", "--config", tmp_path / "none.toml")
    assert done.returncode != 0
    assert "none.toml" in done.stdout + done.stderr


def test_the_proxy_does_not_start_on_a_bad_file(tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text(toml_of({"gate": {"max_wait": "soon"}}))
    done = run("run", "--config", path, "--state-dir", tmp_path / "state")
    assert done.returncode != 0
    assert "gate.max_wait" in done.stdout + done.stderr


def test_an_unknown_variable_is_told(tmp_path):
    path = tmp_path / "good.toml"
    path.write_text("")
    done = run("check", "--config", path, env={"PATH": "/usr/bin", "TOLLGATE_GATE__MAX_WAITT": "1s"})
    assert done.returncode == 2
    assert "TOLLGATE_GATE__MAX_WAIT" in done.stdout + done.stderr


def test_help_names_every_command():
    done = run("--help")
    assert done.returncode == 0
    assert COMMANDS <= set(re.findall(r"^  ([a-z-]+)", done.stdout, re.M))


COMMANDS = {
    *["run", "check", "config", "status", "healthcheck", "doctor", "ca", "hash-token", "demo", "sim", "completions", "man"]
}


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_each_command_tells_its_exit_codes_and_has_its_place_in_the_documents(command):
    told = run(command, "--help").stdout
    assert "Exit codes: 0 " in told and " 2 " in told, told
    assert f"`{command}`" in (ROOT / "docs/commands.md").read_text()
    page = run("man", command)
    assert page.returncode == 0 and f"tollgate-{command}" in page.stdout.replace("\\-", "-"), page
    assert ".SH NAME" in page.stdout
    assert "Exit codes" in page.stdout


@pytest.mark.parametrize("shell, word", [("bash", "_tollgate"), ("zsh", "#compdef"), ("fish", "complete -c")])
def test_completions_are_what_the_shell_reads(tmp_path, shell, word):
    done = run("completions", shell)
    assert done.returncode == 0 and word in done.stdout
    assert "healthcheck" in done.stdout
    if shell == "bash":
        (tmp_path / "tollgate.bash").write_text(done.stdout)
        ask = "source tollgate.bash; COMP_WORDS=(tollgate hea); COMP_CWORD=1; _tollgate tollgate hea tollgate; echo ${COMPREPLY[@]}"
        told = subprocess.run(["bash", "-c", ask], cwd=tmp_path, capture_output=True, text=True, timeout=20)
        assert told.stdout.strip() == "healthcheck", told


@pytest.mark.parametrize("arguments", [["completions", "tcsh"], ["man", "nothing"], ["no-such"], ["status", "--wach"]])
def test_what_is_misspelt_is_told(arguments):
    done = run(*arguments)
    assert done.returncode in (1, 2)
    assert done.stderr and not done.stdout


def test_a_running_process_is_shown(pair, token):
    sim, proxy = pair(tables={"gate": {"max_wait": "60s", "retry_after_scope": "egress"}})
    sim.person(token)
    ask = ["--config", proxy.folder / "tollgate.toml", "--state-dir", proxy.state, "--admin"]
    for admin in [proxy.admin_address, "127.0.0.1:0"]:
        done = run("status", *ask, admin)
        assert done.returncode == 0, done
        assert re.search(r"^gate +open; 5 requests/s$", done.stdout, re.M), done.stdout
        assert re.search(r"^tollgate +\S+, ready$", done.stdout, re.M)
    assert "ready" in json.loads(run("status", "--json", *ask, proxy.admin_address).stdout)
    sim.force("GET", "/v1/people/me", 429, headers={"Retry-After": "30"})
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiter = pool.submit(proxy.bot(token).get, "/v1/people/me", headers={"Prefer": "wait=31"})
        shown = wait_until(lambda: "CLOSED" in (text := run("status", *ask, proxy.admin_address).stdout) and text)
        assert re.search(r"CLOSED for everybody for (2\d|3[0-3])\.\d s", shown), shown
        watching = Process([BINARY, "status", "--watch", *ask, proxy.admin_address], proxy.folder)
        watching.wait_for_line("CLOSED")
        watching.wait_for_line("CLOSED")
        proxy.child.kill()
        watching.wait_for_line("nobody answers on 127.0.0.1:")
        watching.stop()
        with pytest.raises(requests.ConnectionError):
            waiter.result()
    done = run("status", *ask, proxy.admin_address)
    assert done.returncode == 1
    assert "nobody answers" in done.stderr and "admin.listen" in done.stderr


def test_a_probe_without_curl(pair, token):
    sim, proxy = pair(tables={"shutdown": {"delay": "20s", "drain": "1s"}})
    ask = ["--admin", proxy.admin_address, "--state-dir", proxy.state]
    done = run("healthcheck", *ask)
    assert (done.returncode, done.stdout) == (0, "ready\n")
    proxy.child.terminate()
    done = wait_until(lambda: (asked := run("healthcheck", *ask)).returncode == 1 and asked, what="draining")
    assert "503" in done.stderr and "draining" in done.stderr
    assert run("healthcheck", "--live", *ask).returncode == 0
    proxy.child.terminate()
    proxy.child.wait(timeout=10)
    assert run("healthcheck", *ask).returncode == 1


def test_a_probe_does_not_wait_for_a_silent_process():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        started = time.monotonic()
        done = run("healthcheck", "--admin", address, "--timeout", "300ms")
        assert done.returncode == 1 and "did not answer within 300ms" in done.stderr
        assert time.monotonic() - started < 2
    assert run("healthcheck", "--config", "/nowhere").returncode == 1
    assert run("healthcheck", "--timeout", "3").returncode == 2


def test_a_token_is_hashed_from_the_standard_input():
    done = subprocess.run([BINARY, "hash-token"], input=b" tok\n", capture_output=True, timeout=20)
    assert done.stdout.decode().strip() == hashlib.sha256(b"tok").hexdigest()


def test_codes_tell_a_failure_from_a_fault(tmp_path):
    good, bad = tmp_path / "good.toml", tmp_path / "bad.toml"
    good.write_text(f'state_dir = "{tmp_path}/state"\n')
    bad.write_text("[gate]\nmax_wait = 3\n")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        for code, arguments in [
            (0, ["check", "--config", good]),
            (2, ["check", "--config", bad]),
            (0, ["config", "--config", good]),
            (2, ["config", "--config", bad]),
            (2, ["run", "--config", bad]),
            (2, ["status", "--config", bad]),
            (1, ["run", "--config", good, "--listen", address]),
            (1, ["ca", "--config", good, "--state-dir", tmp_path / "empty"]),
            (2, ["check", "--no-such-flag"]),
        ]:
            done = run(*arguments)
            assert done.returncode == code, (arguments, done)
            assert "panicked" not in done.stderr


def test_the_bundle_trusts_this_machine_s_roots_and_the_local_ca(pair):
    _, proxy = pair()
    ask = ["ca", "--config", proxy.folder / "tollgate.toml", "--state-dir", proxy.state]
    own, bundle = run(*ask).stdout, run(*ask, "--bundle").stdout
    assert own == proxy.ca.read_text() and bundle.endswith(own)
    together = proxy.folder / "bundle.pem"
    together.write_text(bundle)
    trusted = ssl.create_default_context(cafile=together).get_ca_certs()
    # A platform may list a root twice.
    assert 20 < len(trusted) <= bundle.count("BEGIN CERTIFICATE")
    assert requests.get(f"{proxy.base}/v1/people/me", verify=together, timeout=10).status_code == 401


@pytest.mark.timeout(120)
def test_the_demo_shows_both_sides_in_under_a_minute(tmp_path):
    started = time.monotonic()
    done = run("demo", seconds=100, cwd=tmp_path, env={"PATH": "/usr/bin", "HOME": str(tmp_path)})
    took = time.monotonic() - started
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert took < 60, f"{took:.0f} s"
    assert "429" in done.stdout
    assert not list(tmp_path.iterdir()), "the demo leaves nothing behind"
