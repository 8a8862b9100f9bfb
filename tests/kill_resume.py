"""kill_resume.py N [CLGRAD] - N trainings, each killed at random moments and resumed until it is done; prints how many ended
with the weights, to the bit, of the training that nobody killed. CLGRAD: build/clgrad unless given."""
import random
import subprocess
import sys
import time
from pathlib import Path

COUNT = int(sys.argv[1])
sys.argv[1:] = sys.argv[2:] or [str(Path(__file__).resolve().parents[1] / "build/clgrad")]
from program import CLGRAD, DATA, ROOT, succeeds  # noqa: E402: takes the program from the arguments

TRAINING = ["--data", DATA, "--model", "flatten linear(64) relu dropout(0.2) linear(10)", "--batch", 16, "--epochs", 60,
            "--schedule", "cosine", "--validation", 0.2, "--patience", 50]


def killed_and_resumed(number):
    """Returns the weights and how often the training was killed."""
    global duration
    kept, out, kills = ROOT / f"{number}.checkpoint", ROOT / f"{number}.safetensors", 0
    while True:
        since = kept.stat().st_mtime_ns if kept.exists() else None
        resume = ["--resume", kept] if since else []
        command = [CLGRAD, "train", *TRAINING, "--checkpoint", kept, "--checkpoint-every", "7steps", "--out", out, *resume]
        start = time.monotonic()
        child = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            said, errors = child.communicate(timeout=random.uniform(0, 1.7 * duration))
        except subprocess.TimeoutExpired:
            child.kill()
            child.communicate()
            assert not out.exists() or out.read_bytes() == whole.read_bytes(), "half a model"
            kills += 1
            if not kept.exists() or kept.stat().st_mtime_ns == since:
                duration *= 1.2  # slower than it was, or it would never end
            continue
        assert child.returncode == 0 and not errors, (child.returncode, said, errors)
        if not resume:
            duration = time.monotonic() - start  # as fast as the machine is now
        weights = out.read_bytes()
        assert {*ROOT.glob(f"{number}.*")} == {kept, out}, [*ROOT.glob(f"{number}.*")]
        kept.unlink()
        out.unlink()
        return weights, kills


whole = ROOT / "whole.safetensors"
for _ in range(2):  # the first run compiles kernels
    start = time.monotonic()
    succeeds("train", *TRAINING, "--out", whole)
    duration = time.monotonic() - start
print(f"1..{COUNT}")
same = kills = 0
for i in range(1, COUNT + 1):
    weights, times = killed_and_resumed(i)
    good = weights == whole.read_bytes()
    print(f"{'ok' if good else 'not ok'} {i} - killed {times} times", flush=True)
    same += good
    kills += times
print(f"# {same} of {COUNT} trainings, killed {kills} times, ended with the weights of the one never killed")
sys.exit(same != COUNT)
