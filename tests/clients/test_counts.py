"""The counts that a release is laid out by: used by the compiler that they are of, and said where they are not."""

import os
import pathlib
import shutil
import subprocess

import pytest

from world import ROOT, TIMEOUT

PROFILE = ROOT / "deploy/profile"
COMPILER, LOCK = (PROFILE / "counts.of").read_text().splitlines()


@pytest.fixture
def tree(tmp_path):
    """A copy of what the script reads."""
    shutil.copytree(PROFILE, tmp_path / "deploy/profile")
    shutil.copy(ROOT / "Cargo.lock", tmp_path)
    return tmp_path


def flags(tree, compiler, *arguments):
    """What the script prints for a compiler of that version, and what it says besides."""
    tools = tree / "tools"
    tools.mkdir()
    (tools / "rustc").write_text(f"#!/bin/sh\necho '{compiler}'\n")
    (tools / "rustc").chmod(0o755)
    environment = os.environ | {"PATH": f"{tools}:{os.environ['PATH']}"}
    done = subprocess.run([tree / "deploy/profile/use.sh", *arguments], env=environment, capture_output=True, text=True,
                          timeout=TIMEOUT, check=True)
    return done.stdout, done.stderr


def test_the_compiler_that_they_are_of_is_told_where_they_are(tree):
    said, _ = flags(tree, COMPILER)
    option, _, path = said.removesuffix("\n").partition("=")
    assert option == "-Cprofile-use"
    # LLVM's mark of an indexed profile.
    assert pathlib.Path(path).read_bytes().startswith(b"\xfflprofi\x81")


def test_another_compiler_builds_without_them(tree):
    said, warned = flags(tree, "rustc 1.2.3 (0123456789 2015-08-03)")
    assert said == ""
    assert COMPILER in warned


def test_changed_dependencies_are_spoken_of(tree):
    with (tree / "Cargo.lock").open("a") as lock:
        lock.write("# changed\n")
    said, warned = flags(tree, COMPILER)
    assert said.startswith("-Cprofile-use=")
    assert "take.sh" in warned


def test_they_say_what_they_are_of(tree):
    said, _ = flags(tree, COMPILER, "--of")
    first, second = said.splitlines()
    assert first == COMPILER
    assert second.split()[1] == LOCK.split()[1] == "Cargo.lock"
