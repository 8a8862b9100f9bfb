"""test_resume.py CLGRAD - trainings that are stopped and gone on with: the same bits, on whatever was stopped and however; what
is refused; and what happens when a checkpoint cannot be written."""
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import tap
from program import CLGRAD, DATA, ROOT, clgrad, refuses, succeeds

PLAIN = "flatten fc1:linear(12) relu fc2:linear(10)"
DEEP = "flatten linear(24) batch_norm relu dropout(0.3) linear(10)"
EPOCHS = 40


def arguments(name, *more, model=PLAIN):
    return ["train", "--data", DATA, "--model", model, "--batch", 32, "--epochs", EPOCHS, "--out", ROOT / f"{name}.safetensors", *more]


def stopped(number, *command):
    """Runs until an epoch is done and something is kept, and stops it there; what it says."""
    child = subprocess.Popen([CLGRAD, *map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    kept = command[command.index("--checkpoint") + 1]
    while not child.stdout.readline().startswith("epoch 1/") or (number == signal.SIGKILL and not kept.exists()):
        assert child.poll() is None, child.communicate()
    child.send_signal(number)
    said, errors = child.communicate(timeout=120)
    assert child.returncode == (-9 if number == signal.SIGKILL else 128 + number) and not errors, (child.returncode, said, errors)
    return said


def values(path):
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    entries = json.loads(data[8:8 + size])
    entries.pop("__metadata__", None)
    return {name: struct.unpack(f"<{(e['data_offsets'][1] - e['data_offsets'][0]) // 4}f",
                                data[8 + size + e["data_offsets"][0]:8 + size + e["data_offsets"][1]])
            for name, e in entries.items()}


def test_resuming_gives_the_same_bits():
    trainings = ((PLAIN, ["--optimizer", "sgd", "--lr", 0.01, "--normalize", "--limit", 280]),
                 (DEEP, ["--schedule", "one-cycle", "--warmup", 5, "--clip-norm", 1]),
                 (DEEP, ["--optimizer", "adamw", "--validation", 0.2, "--patience", 30, "--lr", 0.02]))
    for number, (model, options) in zip((signal.SIGTERM, signal.SIGKILL, signal.SIGINT), trainings):
        kept, log = ROOT / "same.checkpoint", ROOT / "same.log"
        whole = succeeds(*arguments("whole", *options, "--report", ROOT / "whole.html", model=model))
        every = ["--checkpoint", kept, "--checkpoint-every", "3steps" if number == signal.SIGKILL else 1000, "--log", log, "--report",
                 ROOT / "same.html"]
        stopped(number, *arguments("part", *options, *every, model=model))
        told = succeeds(*arguments("part", *options, *every, "--resume", kept, "--stream", model=model))
        assert "going on after epoch" in told and "note:" not in told, told
        assert whole.splitlines()[-4:-2] == told.splitlines()[-4:-2] or "weights are" not in whole, (whole, told)
        assert (ROOT / "whole.safetensors").read_bytes() == (ROOT / "part.safetensors").read_bytes(), (number, options)
        epochs = [json.loads(line)["epoch"] for line in log.read_text().splitlines()]
        assert epochs == list(range(1, len(epochs) + 1)) and len(epochs) > 2, epochs
        curves = [(ROOT / name).read_text().split("<svg")[1] for name in ("whole.html", "same.html")]
        assert curves[0] == curves[1], curves
        again = succeeds(*arguments("again", *options, "--resume", kept, model=model))  # what is done is done
        assert "images/s" not in again, again
        assert (ROOT / "whole.safetensors").read_bytes() == (ROOT / "again.safetensors").read_bytes()
        kept.unlink()


def test_epochs_may_be_added_and_the_device_may_change():
    sgd = ["--optimizer", "sgd", "--lr", 0.01]
    kept = ROOT / "more.checkpoint"
    whole = arguments("whole", *sgd)
    whole[whole.index(EPOCHS)] = 2
    succeeds(*whole)
    part = arguments("part", *sgd, "--checkpoint", kept)
    part[part.index(EPOCHS)] = 1
    succeeds(*part)
    part[part.index(1)] = 2
    other = succeeds(*part[:-2], "--resume", kept, env={"CLGRAD_PROFILE": "gpu"})
    assert "note: the checkpoint is of" in other and "profile gpu" in other, other
    # Ten steps of sgd move a weight by less than lr / (1 - momentum) = 0.1 times the gradient (below 1) each, and a gradient's
    # sums of at most 144 products are off by less than 144 roundings, 1e-5 of it: 1e-5 in all.
    a, b = values(ROOT / "whole.safetensors"), values(ROOT / "part.safetensors")
    assert all(abs(x - y) < 1e-5 for name in a for x, y in zip(a[name], b[name]))
    succeeds(*part, "--resume", kept)
    assert (ROOT / "whole.safetensors").read_bytes() == (ROOT / "part.safetensors").read_bytes()


def test_what_differs_is_named():
    kept = ROOT / "named.checkpoint"
    first = arguments("named", "--checkpoint", kept, "--schedule", "cosine", "--lr", 0.01)
    first[first.index(EPOCHS)] = 1
    succeeds(*first)
    (ROOT / "named.safetensors").unlink()

    def no(*more, says, status=2, options=("--schedule", "cosine", "--lr", 0.01), epochs=1, model=PLAIN, data=DATA, resume=kept):
        refuses("train", "--data", data, "--model", model, "--batch", 32, "--epochs", epochs, "--out", ROOT / "no.safetensors",
                *options, *more, "--resume", resume, says=says, status=status)
    no("--seed", 7, says=["--seed 7 (the checkpoint has 1)"])
    no(options=("--schedule", "cosine", "--lr", 0.1, "--optimizer", "sgd"), says=["--lr 0.1 (the checkpoint has 0.01)", "--optimizer sgd (the checkpoint has adam)"])
    no(options=("--lr", 0.01), says=["--schedule constant (the checkpoint has cosine)"])
    no("--validation", 0.5, says=["--validation 0.5 (the checkpoint has none);", "training data [150, 1, 12, 12]", "has [300, 1, 12, 12]"])
    no(epochs=3, says=["--epochs 3 (the checkpoint has 1)"])
    no(model=PLAIN.replace("12", "13"), says=["--model", "linear(13)", "linear(12)"])
    other = ROOT / "other"
    shutil.copytree(DATA, other, dirs_exist_ok=True)
    images = bytearray((other / "train-images-idx3-ubyte").read_bytes())
    images[5000] ^= 1
    (other / "train-images-idx3-ubyte").write_bytes(images)
    no(data=other, says=["training data [300, 1, 12, 12] with the checksum", "has [300, 1, 12, 12] with"])
    no(resume=ROOT / "none", says="none: No such file", status=1)
    damaged = ROOT / "damaged.checkpoint"
    data = bytearray(kept.read_bytes())
    data[len(data) // 2] ^= 4
    damaged.write_bytes(data)
    no(resume=damaged, says="damaged", status=1)
    damaged.write_bytes(data[:-1])
    no(resume=damaged, says="damaged.checkpoint", status=1)
    no(resume=DATA / "train-images-idx3-ubyte", says="not a safetensors file", status=1)
    no("--folds", 2, "--lr-find", says="", options=())
    both = clgrad("train", "--data", DATA, "--model", PLAIN, "--batch", 32, "--epochs", 1, "--out", ROOT / "both.safetensors", "--schedule",
                  "cosine", "--lr", 0.01, "--resume", kept, "--init-from", ROOT / "none")  # the first run's options, and --resume
    assert both.returncode == 0 and f"none: not read, the weights are those of {kept}" in both.stdout and not both.stderr, both
    for wrong in ("0", "x", "3stepss", "-1", "1.5epochs", ""):
        no("--checkpoint", kept, f"--checkpoint-every={wrong}", says="checkpoint-every" if wrong else "empty")
    no("--checkpoint-every", 3, says="needs --checkpoint")
    no("--checkpoint", ROOT / "no.safetensors", says="same file")
    no("--checkpoint", ROOT / "no/such/place", says="no/such/place", status=1)
    resume = clgrad("train", "--data", DATA, "--model", PLAIN, "--batch", 32, "--epochs", 1, "--resume", kept, "--folds", 3)
    assert resume.returncode == 2 and "--resume" in resume.stderr, resume
    sgd = ROOT / "sgd.checkpoint"
    constant = ["train", "--data", DATA, "--model", PLAIN, "--batch", 32, "--out", ROOT / "no.safetensors", "--checkpoint", sgd]
    succeeds(*constant, "--epochs", 2)
    fewer = clgrad(*constant, "--epochs", 1, "--resume", sgd)
    assert fewer.returncode == 2 and "epoch 2 already" in fewer.stderr, fewer


def test_a_place_that_vanishes_is_only_warned_of():
    place = ROOT / "place"
    place.mkdir()
    child = subprocess.Popen([CLGRAD, *map(str, arguments("vanished", "--checkpoint", place / "c", "--checkpoint-every", "5steps"))],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    child.stdout.readline()
    while place.exists():
        shutil.rmtree(place, ignore_errors=True)
        time.sleep(0.01)
    _, errors = child.communicate(timeout=120)
    assert child.returncode == 0 and errors.count("No such file") == 1 and "were not written" in errors, errors
    assert succeeds("eval", ROOT / "vanished.safetensors", "--data", DATA)


def test_a_full_disk_leaves_the_old_checkpoint():
    disk = Path(tempfile.mkdtemp(dir=ROOT))
    mounted = os.geteuid() == 0 and subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", disk],
                                                   stderr=subprocess.DEVNULL).returncode == 0
    if not mounted:
        raise tap.Skip("needs root, for a small tmpfs")
    try:
        kept = disk / "full.checkpoint"
        part = arguments("part", "--checkpoint", kept)
        part[part.index(EPOCHS)] = 1
        succeeds(*part)
        old = kept.read_bytes()
        with open(disk / "filler", "wb", buffering=0) as filler:
            try:
                while filler.write(bytes(4096)):
                    pass
            except OSError:
                pass
        part[part.index(1)] = 3
        done = clgrad(*part, "--resume", kept)
        assert done.returncode == 0 and "warning: --checkpoint" in done.stderr and "No space left" in done.stderr, done
        assert done.stderr.count("No space left") == 1 and "in all, 3 checkpoints were not written" in done.stderr, done
        assert kept.read_bytes() == old and sorted(path.name for path in disk.iterdir()) == ["filler", "full.checkpoint"]
        whole = (ROOT / "part.safetensors").read_bytes()
        (disk / "filler").unlink()
        succeeds(*part, "--resume", kept)
        assert (ROOT / "part.safetensors").read_bytes() == whole and kept.read_bytes() != old
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_training_that_goes_bad_ends_with_3():
    kept, out = ROOT / "bad.checkpoint", ROOT / "bad.safetensors"
    good = arguments("bad", "--checkpoint", kept, "--optimizer", "sgd", "--lr", 0.01)
    good[good.index(EPOCHS)] = 1
    succeeds(*good)
    before = kept.read_bytes(), out.read_bytes()
    for model in (PLAIN, "flatten linear(8) scale(1e6) scale(1e6) scale(1e6) linear(10)"):
        done = clgrad(*arguments("bad", "--optimizer", "sgd", "--lr", 1e30, "--checkpoint", kept, "--checkpoint-every", 1, model=model))
        assert done.returncode == 3 and "--lr" in done.stderr and "bad.checkpoint is as it was" in done.stderr, done
        assert (kept.read_bytes(), out.read_bytes()) == before
    # What this training has kept is not as it was.
    table = ROOT / "burst.csv"
    table.write_text("a,y\n" + "".join(f"{i % 7},{i % 3}\n" for i in range(40)))
    burst = ROOT / "burst.checkpoint"
    done = clgrad("train", "--data", table, "--target", "y", "--model", "linear(1)", "--optimizer", "sgd", "--lr", 3, "--epochs", 400,
                  "--checkpoint", burst, "--out", ROOT / "burst.safetensors")
    assert done.returncode == 3 and re.search(r"No model was saved; \S+burst.checkpoint has the training as it was after epoch \d+$",
                                              done.stderr.strip()) and burst.exists(), done
    fresh = ROOT / "fresh.checkpoint"
    done = clgrad(*arguments("bad", "--optimizer", "sgd", "--lr", 1e30, "--checkpoint", fresh))
    assert done.returncode == 3 and "is not there yet" in done.stderr and "as it was" not in done.stderr and not fresh.exists(), done
    # A last step may leave weights that no loss has seen yet.
    once = arguments("bad", "--optimizer", "sgd", "--lr", 3e38, "--checkpoint", kept, "--batch", 300)
    once[once.index(EPOCHS)] = 1
    done = clgrad(*once)
    assert done.returncode == 3 and (kept.read_bytes(), out.read_bytes()) == before, done


def test_where_it_goes_bad_is_told():
    out = ROOT / "where.safetensors"
    done = clgrad(*arguments("where", "--optimizer", "sgd", "--lr", 1e30, "--check-numerics"))
    lines = done.stderr.splitlines()
    assert done.returncode == 3 and not out.exists(), done
    assert re.match(r"clgrad train: epoch 1, step \d+ goes bad. First, [a-z_]+.* \[.*\] is (-?nan|-?inf) at element \[.*\]: "
                    r"\d+ NaN and \d+ infinite of \d+", lines[0]), lines
    assert re.match(r"  input 0, .*: 0 NaN and 0 infinite of \d+; min \S+, max \S+, mean \S+$", lines[1]), lines
    good = arguments("where", "--check-numerics", model=DEEP)
    good[good.index(EPOCHS)] = 1
    looked = succeeds(*good)
    good.remove("--check-numerics")
    losses = [float(said.split("train loss ")[1].split()[0]) for said in (looked, succeeds(*good))]
    assert abs(losses[0] - losses[1]) < 1e-3 * losses[1], losses
    holes = ROOT / "holes.csv"
    holes.write_text("a,b,y\n1,2,3\n4,nan,5\n6,7,8\n")
    refuses("train", "--data", holes, "--target", "y", says=["holes.csv", "line 3", '"b"'])
    refuses("train", "--data", DATA, "--lr-find", "--check-numerics", status=2, says="--lr-find")


def test_a_text_is_resumed_too():
    text = ROOT / "text.txt"
    text.write_text("".join(chr(97 + i * i % 7) for i in range(600)))
    common = ["train", "--model", "gpt", "--data", text, "--batch", 1, "--out", ROOT / "gpt.safetensors"]
    kept = ROOT / "gpt.checkpoint"
    succeeds(*common, "--epochs", 2)
    whole = (ROOT / "gpt.safetensors").read_bytes()
    succeeds(*common, "--epochs", 1, "--checkpoint", kept, "--checkpoint-every", "2steps")
    told = succeeds(*common, "--epochs", 2, "--resume", kept)
    assert "going on after epoch 1" in told and (ROOT / "gpt.safetensors").read_bytes() == whole, told
    text.write_text("".join(chr(97 + i * i % 7) for i in range(601)))
    refuses(*common, "--epochs", 2, "--resume", kept, status=2, says=["601 characters", "has 600"])


tap.run(sys.modules[__name__])
