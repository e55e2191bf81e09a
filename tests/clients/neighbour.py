"""A well-behaved tenant in a process of its own, so that an attack in Python does not slow down its clock.

Arguments: port, file of the CA, token, path of a kept content. One line per request: the monotonic second in which it
began, what was asked, the status, the milliseconds. Ends with its input.
"""

import http.client
import ssl
import sys
import threading
import time


def main(port, ca, token, content):
    over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
    context = ssl.create_default_context(cafile=ca)
    headers = {"Authorization": f"Bearer {token}"}
    connection = None
    for turn in range(sys.maxsize):
        if over.is_set():
            return
        kind, path = [("passed", "/v1/people/me"), ("kept", content)][turn % 2]
        began = time.monotonic()
        try:
            if connection is None:
                connection = http.client.HTTPSConnection("localhost", int(port), timeout=20, context=context)
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            answer.read()
            status = answer.status
        except (OSError, http.client.HTTPException) as error:
            status, connection = type(error).__name__, None
        print(f"{began:.6f} {kind} {status} {(time.monotonic() - began) * 1000:.3f}", flush=True)
        over.wait(0.01)


if __name__ == "__main__":
    main(*sys.argv[1:])
