"""program.py - runs the program under test (the first argument) in a scratch directory, and holds it to its manners."""
import json
import os
import re
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import idx

CLGRAD = os.path.abspath(sys.argv[1])
TEMP = tempfile.TemporaryDirectory()
ROOT = Path(TEMP.name)
DATA = ROOT / "data"

idx.write_pair(DATA, "train", idx.images(300, 12, 12))
idx.write_pair(DATA, "t10k", idx.images(101, 12, 12, seed=2))


def clgrad(*arguments, env=None, timeout=300, **more):
    command = [CLGRAD, *map(str, arguments)]
    clean = {key: value for key, value in os.environ.items() if key not in ("CLGRAD_DEVICE", "CLGRAD_PROFILE")}
    more = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more}
    return subprocess.run(command, env={**clean, **(env or {})}, text=True, errors="surrogateescape",
                          timeout=timeout, **more)


def succeeds(*arguments, **more):
    done = clgrad(*arguments, **more)
    assert done.returncode == 0 and not done.stderr, done
    return done.stdout


def safetensors(header, body=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def listing(directory=ROOT):
    return sorted(path.relative_to(directory) for path in directory.rglob("*"))


def refuses(*arguments, status=1, says=(), **more):
    """Ends with `status` and one message on standard error that has all of `says`; leaves no file behind."""
    before = listing()
    done = clgrad(*arguments, **{"cwd": ROOT, **more})
    assert done.returncode == status and not (status == 2 and done.stdout), done
    assert not re.search(r"Sanitizer|runtime error:", done.stderr), done.stderr
    messages = [line for line in done.stderr.splitlines() if line.startswith("clgrad")]
    assert len(messages) == 1, done.stderr
    for text in [says] if isinstance(says, str) else says:
        assert text in done.stderr, f"{text!r} is not in {done.stderr!r}"
    assert listing() == before, set(listing()) ^ set(before)
