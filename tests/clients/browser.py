"""Chromium, told what to do from a test."""

import json
import os
import pathlib
import shutil
import subprocess
import threading

from world import ROOT

FOLDER = ROOT / "target/clients-page"
SCRIPT = pathlib.Path(__file__).with_name("page") / "browser.mjs"
# An answer that takes longer is a hang.
PATIENCE = 40


class Browser:
    """Headless Chromium behind `page/browser.mjs`, which says what each order means."""

    def __init__(self):
        program = shutil.which("chromium") or "/usr/bin/chromium"
        clean = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
        self.child = subprocess.Popen(
            ["node", str(SCRIPT), str(FOLDER), program],
            env=clean | {"NO_PROXY": "*"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def tell(self, order, **details):
        # A browser that hangs is ended, so that the test fails instead of waiting.
        watch = threading.Timer(PATIENCE, self.child.kill)
        watch.start()
        try:
            self.child.stdin.write(json.dumps({"order": order, **details}) + "\n")
            self.child.stdin.flush()
            line = self.child.stdout.readline()
        finally:
            watch.cancel()
        assert line, f"the browser ended at {order}"
        answer = json.loads(line)
        assert "failed" not in answer, f"{order} {details}: {answer['failed']}"
        return answer["told"]

    def text(self, id):
        return self.tell("evaluate", code=f"document.getElementById({json.dumps(id)}).innerText")

    def stop(self):
        self.child.stdin.close()
        try:
            self.child.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait(timeout=10)
        self.child.stdout.close()
