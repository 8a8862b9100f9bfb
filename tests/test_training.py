"""test_training.py CLGRAD - how the program trains: optimisers and schedules, validation, folds, transfer, metrics, signals."""
import json
import os
import re
import signal
import subprocess
import sys
import time

import tap
from program import CLGRAD, DATA, ROOT, clgrad, listing, refuses, succeeds

SPEC = "flatten fc1:linear(12) relu fc2:linear(10)"


def run(*arguments, spec=SPEC):
    return succeeds("train", "--data", DATA, "--model", spec, "--batch", 32, *arguments, cwd=ROOT)


def train(*arguments, name="model", **more):
    """Returns what it said, the log's rows, the model's path."""
    log, out = ROOT / f"{name}.log", ROOT / f"{name}.safetensors"
    said = run("--out", out, "--log", log, *arguments, **more)
    return said, [json.loads(line) for line in log.read_text().splitlines()], out


def no(*arguments, says, status=2):
    refuses("train", "--data", DATA, "--model", SPEC, "--batch", 32, *arguments, says=says, status=status)


def test_optimisers_and_schedules_learn():
    for arguments in (["--optimizer", "adamw", "--schedule", "cosine", "--warmup", 5, "--clip-norm", 1],
                      ["--optimizer", "nesterov", "--lr", 0.1, "--schedule", "one-cycle", "--clip-value", 0.5],
                      ["--optimizer", "rmsprop", "--lr", 0.003, "--schedule", "step", "--l1", 1e-5, "--l2", 1e-4]):
        _, rows, _ = train("--epochs", 8, *(arguments if "--lr" in arguments else [*arguments, "--lr", 0.02]))
        assert rows[-1]["test_accuracy"] > 0.5 and rows[-1]["train_loss"] < rows[0]["train_loss"], (arguments, rows)
        assert rows[-1]["program_builds"] == 0, rows[-1]


def test_two_processes_fill_one_cache():
    cache = ROOT / "two"
    cache.mkdir()
    out = [ROOT / "two-0.safetensors", ROOT / "two-1.safetensors"]
    both = [subprocess.Popen([CLGRAD, "train", "--data", DATA, "--model", SPEC, "--batch", "32", "--epochs", "2", "--out", path],
                             env={**os.environ, "XDG_CACHE_HOME": str(cache)}, text=True, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE) for path in out]
    for process in both:
        said, errors = process.communicate(timeout=240)
        assert process.returncode == 0 and not errors, (said, errors)
    assert out[0].read_bytes() == out[1].read_bytes()
    names = [path.name for path in (cache / "clgrad").iterdir()]
    assert names and all(re.fullmatch(r"[0-9a-f]{16}\.bin", name) for name in names), names


def test_early_stopping_keeps_the_best():
    said, rows, out = train("--epochs", 40, "--validation", 0.3, "--patience", 2, "--lr", 0.3)
    losses = [row["validation_loss"] for row in rows]
    best = losses.index(min(losses))
    assert 2 < len(rows) < 40 and best == len(rows) - 3 and f"those after epoch {best + 1}," in said, said
    told = json.loads(succeeds("eval", out, "--data", DATA, "--json"))
    assert f"test accuracy {100 * told['accuracy']:.2f}%" in said and "210 images" in said, (told, said)


def test_evaluations_see_what_was_learnt():
    # the network that evaluates after each epoch keeps packed weights and batch norm's constants: made anew each time
    spec = "conv2d(8,3) batch_norm relu conv2d(8,3) relu flatten linear(10)"
    _, rows, out = train("--epochs", 3, spec=spec)
    told = json.loads(succeeds("eval", out, "--data", DATA, "--json"))
    assert abs(told["loss"] - rows[-1]["test_loss"]) < 1e-6 < abs(told["loss"] - rows[0]["test_loss"]), (told, rows)


def test_folds():
    said = run("--epochs", 1, "--folds", 3, "--lr", 0.02)
    lines = [line for line in said.splitlines() if line.startswith("epoch 1/1")]
    values = [float(line.split("validation accuracy ")[1].split("%")[0]) for line in lines]
    mean = sum(values) / 3
    deviation = (sum((v - mean) ** 2 for v in values) / 2) ** 0.5
    last = said.splitlines()[-1].replace("%", "").split()
    assert len(set(values)) > 1 and abs(float(last[-3]) - mean) < 0.01 and abs(float(last[-1]) - deviation) < 0.02, said
    assert not list(ROOT.glob("clgrad-*")), listing()


def test_transfer_freezes_and_takes_what_fits():
    _, _, first = train("--epochs", 1, name="first")
    said, _, second = train("--epochs", 2, "--init-from", first, "--freeze", "fc1", "--optimizer", "adamw", name="second")
    assert "4 of 4 parameters taken" in said, said
    def tensor(path, name):
        data = path.read_bytes()
        size = int.from_bytes(data[:8], "little")
        begin, end = json.loads(data[8:8 + size])[name]["data_offsets"]
        return data[8 + size + begin:8 + size + end]
    assert tensor(first, "fc1.weight") == tensor(second, "fc1.weight") and tensor(first, "fc1.bias") == tensor(second, "fc1.bias")
    assert tensor(first, "fc2.weight") != tensor(second, "fc2.weight")
    said, _, _ = train("--epochs", 1, "--init-from", first, spec="flatten fc1:linear(12) relu head:linear(10)")
    assert "2 of 4 parameters taken; new: head.weight, head.bias" in said, said
    done = clgrad("train", "--data", DATA, "--model", SPEC, "--epochs", 1, "--init-from", first, "--normalize", "--out", ROOT / "other.safetensors")
    assert done.returncode == 0 and "trained without --normalize, and this one is trained with it" in done.stderr, done


def test_metrics_add_up():
    said, rows, _ = train("--epochs", 3, "--lr", 0.02, "--metrics", "--class-weights", "balanced")
    told, matrix = rows[-1], rows[-1]["confusion"]
    right = sum(matrix[i][i] for i in range(10))
    assert sum(map(sum, matrix)) == 101 and abs(right / 101 - rows[-2]["test_accuracy"]) < 1e-6, rows[-2:]
    for c, one in enumerate(told["classes"]):
        column, row = sum(matrix[i][c] for i in range(10)), sum(matrix[c])
        assert abs(one["recall"] * row - matrix[c][c]) < 1e-6 and abs(one["precision"] * column - matrix[c][c]) < 1e-6, one
        assert abs(one["f1"] * (row + column) - 2 * matrix[c][c]) < 1e-6 and one["examples"] == row, one
    assert rows[-2]["test_accuracy"] <= told["top_accuracy"] <= 1 and "precision" in said, told


def test_augmentation_changes_what_is_learnt_alone():
    common = ["--epochs", 2, "--lr", 0.02, "--augment", "flip,shift=1,crop=10x8/1"]
    made = {}
    for name, more in (("once", []), ("again", []), ("streamed", ["--stream"]), ("other", ["--seed", 2])):
        said, rows, out = train(*common, *more, name=name)
        most = 4 * 32 + 64 + (32 * 144 if "--stream" in more else 0)  # a step's indices, streamed its pictures too
        made[name] = out.read_bytes()
        assert rows[-1]["device_allocations"] == 0 and rows[-1]["bytes_to_device_per_step"] <= most, rows
        told = json.loads(succeeds("eval", out, "--data", DATA, "--json"))
        assert told["accuracy"] == rows[-1]["test_accuracy"] and abs(told["loss"] - rows[-1]["test_loss"]) < 1e-6, (told, rows)
    assert made["once"] == made["again"] == made["streamed"] != made["other"]
    layers = json.loads(succeeds("summary", ROOT / "once.safetensors", "--json"))["layers"]
    assert layers[0]["output"][1:] == [80], layers  # of 12 x 12 pixels the middle 10 x 8
    _, plain, _ = train("--epochs", 1, "--lr", 1e-9, name="plain")
    _, moved, _ = train("--epochs", 1, "--lr", 1e-9, "--augment", "shift=5", name="moved")
    assert plain[0]["test_loss"] == moved[0]["test_loss"] and plain[0]["train_loss"] != moved[0]["train_loss"], (plain, moved)


def test_class_weights_count():
    _, heavy, _ = train("--epochs", 4, "--lr", 0.02, "--metrics", "--class-weights", "9,1,1,1,1,1,1,1,1,1")
    _, light, _ = train("--epochs", 4, "--lr", 0.02, "--metrics", "--class-weights", "0,1,1,1,1,1,1,1,1,1")
    guesses = [sum(row[0] for row in rows[-1]["confusion"]) for rows in (heavy, light)]
    assert guesses[0] > 0 and guesses[0] > guesses[1], guesses


def test_learning_rate_is_found():
    curve = ROOT / "curve.csv"
    said = run(f"--lr-find={curve}")
    rate = float(said.split("suggestion: --lr ")[1].split(",")[0])
    rows = [list(map(float, line.split(","))) for line in curve.read_text().splitlines()[1:]]
    assert 1e-4 < rate < 1 and any(abs(row[0] / rate - 1) < 0.1 for row in rows) and "####" in said, said
    assert all(a[0] < b[0] for a, b in zip(rows, rows[1:])), rows


def test_interrupt_saves():
    out = ROOT / "interrupted.safetensors"
    for number in (signal.SIGINT, signal.SIGTERM):
        child = subprocess.Popen([CLGRAD, "train", "--data", DATA, "--model", SPEC, "--batch", "32", "--epochs", "1000000",
                                  "--out", out], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        while not child.stdout.readline().startswith("epoch 1/"):
            time.sleep(0.01)
        child.send_signal(number)
        said, errors = child.communicate(timeout=120)
        assert child.returncode == 128 + number and not errors and "interrupted after" in said, (child.returncode, said[-500:], errors)
        assert json.loads(succeeds("eval", out, "--data", DATA, "--json"))["examples"] == 101
        out.unlink()


def test_a_reader_that_goes_costs_no_training():
    out = ROOT / "piped.safetensors"
    command = [CLGRAD, "train", "--data", DATA, "--model", "flatten linear(10)", "--epochs", "30", "--out", out]
    child = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    child.stdout.readline()
    child.stdout.close()
    errors = child.stderr.read()
    assert child.wait(timeout=120) == 1 and "standard output" in errors and errors.count("\n") == 1, errors
    with open("/dev/full", "w") as full:
        done = clgrad(*command[1:], "--trace", "/dev/full", stdout=full)
    assert done.returncode == 1 and "warning: --trace /dev/full" in done.stderr and "standard output" in done.stderr, done
    assert json.loads(succeeds("eval", out, "--data", DATA, "--json"))["examples"] == 101


def test_refusals():
    for arguments, says in ((["--folds", 1], "from 2 to 1000"), (["--folds", 301], "301 of 300 training examples"), (["--freeze", "fc"], "fc"),
                            (["--freeze", "fc1,,fc2"], ",fc2"), (["--patience", 3], "--validation"),
                            (["--class-weights", "1,2"], "10 classes"), (["--class-weights", "0,0"], "balanced"),
                            (["--class-weights", "1,-2"], "-2"), (["--class-weights", "1,"], "1,"),
                            (["--warmup", 50, "--epochs", 5], "50 steps"), (["--weight-decay", 0.1], "adamw"),
                            (["--optimizer", "nesterov", "--momentum", 0], "nesterov"),
                            (["--optimizer", "rmsprop", "--weight-decay", 0.1], "adamw"),
                            (["--lr-find", "--out", "x"], "--out"), (["--folds", 2, "--lr-find"], "--lr-find"),
                            (["--validation", 0.001], "none or all"), (["--schedule", "linear"], "one-cycle")):
        no(*arguments, says=says)
    no("--init-from", "missing", says="missing", status=1)
    no("--freeze", "fc1,fc2", says=["--freeze fc1,fc2", "leave one of them out"])


tap.run(sys.modules[__name__])
