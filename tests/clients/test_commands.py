"""`tollgate check` and `tollgate demo`, as a person runs them."""

import re
import subprocess
import time

import pytest

from world import BINARY, toml_of


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
    assert {"run", "check", "demo", "sim"} <= set(re.findall(r"\w+", done.stdout))


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
