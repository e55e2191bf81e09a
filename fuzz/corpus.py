"""Turns a folder of fuzz inputs into one file and back: an input per line, escaped as Rust's `escape_ascii` does.

    corpus.py pack FOLDER FILE BYTES     the shortest inputs first, as many as fit
    corpus.py unpack FILE FOLDER          adds to what is there
"""

import hashlib
import pathlib
import re
import sys

NAMED = {"t": b"\t", "n": b"\n", "r": b"\r", "'": b"'", '"': b'"', "\\": b"\\"}
LETTERS = {byte[0]: "\\" + letter for letter, byte in NAMED.items()}


def escaped(text: bytes) -> str:
    return "".join(LETTERS.get(byte) or (chr(byte) if 32 <= byte < 127 else f"\\x{byte:02x}") for byte in text)


def unescaped(line: str) -> bytes:
    def byte(found: re.Match) -> str:
        code = found[1]
        return chr(int(code[1:], 16)) if code[0] == "x" else NAMED[code].decode()

    return re.sub(r"\\(x[0-9a-f]{2}|.)", byte, line).encode("latin-1")


def pack(folder: pathlib.Path, file: pathlib.Path, room: int) -> None:
    lines = []
    for text in sorted((path.read_bytes() for path in folder.iterdir()), key=lambda text: (len(text), text)):
        line = escaped(text) + "\n"
        room -= len(line)
        if room < 0:
            break
        lines.append(line)
    file.write_text("".join(lines))


def unpack(file: pathlib.Path, folder: pathlib.Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for line in file.read_text().splitlines():
        text = unescaped(line)
        (folder / hashlib.sha1(text).hexdigest()).write_bytes(text)


if __name__ == "__main__":
    if sys.argv[1] == "pack":
        pack(pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3]), int(sys.argv[4]))
    else:
        unpack(pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3]))
