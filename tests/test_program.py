"""test_program.py CLGRAD - the program end to end: what it prints, writes and refuses."""
import filecmp
import gzip
import json
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import idx
import tap
from program import CLGRAD, DATA, ROOT, clgrad, listing, refuses, succeeds
from sound import MODEL, PNG, X, Y, npy, png

FASHION = Path("/usr/share/datasets/fashion-mnist")


def train(*arguments, data=DATA, name="model", **more):
    """Trains in silence; returns the log's rows and the model's path."""
    log, out = ROOT / f"{name}.log", ROOT / f"{name}.safetensors"
    succeeds("train", "--data", data, "--out", out, "--log", log, "--batch", 32, *arguments, **more)
    return [json.loads(line) for line in log.read_text().splitlines()], out


def variant(name, part="train", images=None, labels=None):
    """A copy of the small data set with one file replaced; returns its directory."""
    directory = ROOT / "variants" / name
    shutil.copytree(DATA, directory, dirs_exist_ok=True)
    for kind, data in (("images-idx3", images), ("labels-idx1", labels)):
        if data is not None:
            (directory / f"{part}-{kind}-ubyte").write_bytes(data)
    return directory


def part(kind, of="train"):
    return (DATA / f"{of}-{kind}-ubyte").read_bytes()


# ---- the command line -------------------------------------------------------------------------------------------


def test_help_and_version():
    assert succeeds("--version").startswith("clgrad ")
    for arguments in (["--help"], ["help"], ["-h"]):
        text = succeeds(*arguments)
        assert all(word in text for word in ("devices", "train", "eval", "bench", "tune", "doctor", "ops")), text
    for command in ("devices", "train", "eval", "bench", "tune", "doctor", "ops"):
        assert succeeds("help", command) == succeeds(command, "--help")
    assert all(f"--{name} " in succeeds("help", "train") for name in
               "data model epochs batch optimizer lr seed limit device out log trace".split())


def test_wrong_command_lines_end_with_2():
    for arguments in ([], ["frobnicate"], ["--frobnicate"], ["help", "frobnicate"]):
        assert clgrad(*arguments).returncode == 2, arguments
    refuses("train", "--frobnicate", status=2, says=["--frobnicate", "clgrad help train"])
    refuses("train", "--batch-size", 32, status=2, says=["--batch-size", "did you mean --batch?"])
    refuses("train", "extra", status=2, says="extra")
    refuses("train", "--epochs", status=2, says="needs a value")
    refuses("devices", "--json=1", status=2, says="takes no value")
    refuses("eval", status=2, says="MODEL")
    refuses("train", "--momentum", "0.5", status=2, says="sgd")


def test_wrong_values_end_with_2():
    wrong = {"batch": ["0", "-1", "x", "", "1.5", "99999999999999999999", " 1", "0x10"],
             "epochs": ["0", "-3"], "limit": ["0", "-1"], "seed": ["-1", "18446744073709551616"],
             "lr": ["0", "-1", "nan", "inf", "1e-60", "1e60", "x"], "momentum": ["1", "-0.1", "nan"],
             "model": ["resnet", "", "cnn|mlp", "cn"], "optimizer": ["adagrad"], "classes": ["0", "257"]}
    for name, values in wrong.items():
        for value in values:
            refuses("train", f"--{name}={value}", status=2, says=f"--{name}" if value else "")


def test_full_disk_on_standard_output():
    with open("/dev/full", "w") as full:
        for arguments in (["--help"], ["devices"], ["devices", "--json"]):
            done = clgrad(*arguments, stdout=full)
            assert done.returncode == 1 and "standard output" in done.stderr, done


# ---- tables -----------------------------------------------------------------------------------------------------


def table(name, columns, rows):
    path = ROOT / name
    path.write_text("\n".join(",".join(map(str, row)) for row in [columns, *rows]) + "\n")
    return path


def test_csv_classes_and_targets():
    points = [(i % 10 / 10, i // 10 / 10) for i in range(100)]
    rows = [(1000 + 100 * a, b, "red" if a + b > 1 else "blue", 3 * a - b) for a, b in points]
    classes = table("classes.csv", ["a", "b", "colour"], [row[:3] for row in rows])
    numbers = table("numbers.csv", ["a", "b", "y"], [(*row[:2], row[3]) for row in rows])
    common = ("--normalize", "--epochs", 40, "--lr", "0.02")
    log, model = train("--label", "colour", *common, "--model", "linear(16) relu linear(classes)", data=classes, name="csv")
    assert log[-1]["test_accuracy"] >= 0.9, log[-1]
    told = json.loads(succeeds("eval", model, "--data", classes, "--json"))
    assert told["accuracy"] >= 0.9 and told["examples"] == 100, told
    assert "examples/s" in (said := succeeds("train", "--data", classes, "--label", "colour", "--epochs", 1, "--out", ROOT / "csv.safetensors")), said
    assert "images" not in said and "100 examples" in succeeds("eval", ROOT / "csv.safetensors", "--data", classes), said
    log, model = train("--target", "y", *common, "--model", "linear(16) relu linear(1)", data=numbers, name="csv")
    assert log[-1]["test_r2"] > 0.9, log[-1]
    assert "R^2 0.9" in succeeds("eval", model, "--data", numbers)

    refuses("train", "--data", classes, status=2, says=["--label", "--target"])
    refuses("train", "--data", classes, "--label", "a", "--target", "b", status=2, says="--label and --target")
    refuses("train", "--data", DATA, "--label", "a", status=2, says="not a .csv")
    refuses("train", "--data", DATA, "--split", "0.5", status=2, says="--split")
    refuses("train", "--data", classes, "--label", "a", "--test", DATA, status=2, says="--test")
    refuses("train", "--data", classes, "--label", "kind", says=["classes.csv", "kind", "a, b, colour"])
    refuses("train", "--data", classes, "--target", "colour", says=["line 2", '"colour"', "blue"])
    refuses("train", "--data", classes, "--label", "colour", "--model", "cnn", says=["images", "[2]", "--model mlp"])
    many = table("many.csv", ["a", "price"], [(i, 10 * i) for i in range(60)])
    told = clgrad("train", "--data", many, "--label", "price", "--model", "linear(classes)", "--epochs", 1, "--out", ROOT / "many.safetensors")
    assert told.returncode == 0 and "60 classes in 48 examples" in told.stderr and "--target price" in told.stderr, told
    same = table("same.csv", ["a", "colour"], [(i, "red") for i in range(20)])
    refuses("train", "--data", same, "--label", "colour", says=["same.csv", "one class, red"])
    refuses("train", "--data", classes, "--label", "colour", "--classes", "3", says="2 classes")
    holes = table("holes.csv", ["a", "y"], [(1, 2), ("", 3)])
    refuses("train", "--data", holes, "--target", "y", says=["holes.csv", "line 3", '"a"', "missing"])
    refuses("train", "--data", table("one.csv", ["a", "y"], [(1, 2)]), "--target", "y", says="1 examples")
    refuses("eval", model, "--data", DATA, says="images")
    refuses("eval", model, "--data", classes, says='"y"')


def test_npy_labels_say_how_many_classes():
    place = ROOT / "npy"
    place.mkdir()
    (place / "x.npy").write_bytes(X)
    (place / "y.npy").write_bytes(Y)  # 0 to 2
    for layers, classes in (("linear(classes)", 3), ("linear(7)", 7), ("linear(8) relu linear(classes)", 3)):
        out = place / "m.safetensors"
        succeeds("train", "--data", place / "x.npy", "--model", layers, "--batch", 2, "--epochs", 1, "--out", out)
        assert b'"classes":"%d"' % classes in out.read_bytes()
    head = "{'descr': '%s', 'fortran_order': False, 'shape': %s, }"
    onehot = b"".join(struct.pack("<3f", *(float(i % 3 == k) for k in range(3))) for i in range(12))
    (place / "x.npy").write_bytes(npy(head % ("|u1", (12, 2)), bytes(24)))
    (place / "y.npy").write_bytes(npy(head % ("<f4", (12, 3)), onehot))
    told = clgrad("train", "--data", place / "x.npy", "--model", "flatten linear(classes)", "--epochs", 1, "--out", place / "m.safetensors")
    assert told.returncode == 0 and "one-hot" in told.stderr and "argmax" in told.stderr, told
    (place / "y.npy").write_bytes(npy(head % ("|u1", (12, 1)), bytes(i % 3 for i in range(12))))  # as Keras has them
    (place / "x.npy").write_bytes(npy(head % ("|u1", (12, 6, 5, 1)), bytes(360)))
    told = clgrad("train", "--data", place / "x.npy", "--model", "flatten linear(classes)", "--epochs", 1, "--out", place / "m.safetensors")
    assert told.returncode == 0 and "transpose(0, 3, 1, 2)" in told.stderr and '"classes":"3"' in str(out.read_bytes()), told
    (place / "x.npy").write_bytes(npy(head % ("|u1", (12, 6, 5)), bytes(360)))
    refuses("train", "--data", place / "x.npy", says=["[6, 5]", "x[:, None]"])
    (place / "y.npy").write_bytes(npy(head % ("|u1", (12, 3)), bytes(36)))
    refuses("train", "--data", place / "x.npy", says=["y.npy", "[12, 3]", "argmax(1)"])
    refuses("train", "--data", place / "x.npz", status=2, says=["x.npz", "numpy.save"])
    rows = npy(head % ("<f4", (4, 2)), bytes(32))
    (place / "x.npy").write_bytes(rows)
    (place / "y.npy").write_bytes(npy("{'descr': '|u1', 'fortran_order': False, 'shape': (4,), }", b"\0\1\0\1"))
    refuses("train", "--data", place / "x.npy", says=["x.npy", "--model mlp", "[2]"])
    (place / "y.npy").write_bytes(npy("{'descr': '|u1', 'fortran_order': False, 'shape': (4,), }", bytes(4)))
    refuses("train", "--data", place / "x.npy", "--model", "mlp", says="one class, 0")
    shutil.rmtree(place)


# ---- folders of pictures ----------------------------------------------------------------------------------------


def test_folders_of_pictures():
    fashion()
    names, counts, files = ("ankle boot", "bag", "trouser"), {"train": 80, "test": 30}, []
    for part, file in (("train", "train"), ("test", "t10k")):
        pixels, labels = (gzip.decompress((FASHION / f"{file}-{kind}-ubyte.gz").read_bytes())[start:]
                          for kind, start in (("images-idx3", 16), ("labels-idx1", 8)))
        for name, label in zip(names, (9, 8, 1)):
            folder = ROOT / "pictures" / part / name
            folder.mkdir(parents=True)
            at = -1
            for i in range(counts[part]):
                at = labels.index(label, at + 1)
                rows = (pixels[784 * at + 28 * y:784 * at + 28 * (y + 1)] for y in range(28))
                (folder / f"{i}.png").write_bytes(png(28, 28, raw=b"".join(b"\0" + row for row in rows)))
            files += [(name, folder / f"{i}.png") for i in range(counts[part]) if part == "test"]
    log, model = train("--model", "flatten linear(classes)", "--epochs", 8, data=ROOT / "pictures", name="folder")
    assert log[-1]["test_accuracy"] > 0.95, log[-1]
    told = json.loads(succeeds("eval", model, "--data", ROOT / "pictures", "--json"))
    assert told["examples"] == 90 and told["accuracy"] == log[-1]["test_accuracy"], told
    lines = [json.loads(line) for line in succeeds("predict", model, *(path for _, path in files), "--json").splitlines()]
    assert [line["input"] for line in lines] == [str(path) for _, path in files]
    right = sum(line["classes"][0]["name"] == name for line, (name, _) in zip(lines, files))
    assert abs(right / 90 - told["accuracy"]) < 1e-6 and lines[0]["classes"][0]["name"] in names, (right, told)
    # Without a test part, and to other extents.
    log, _ = train("--model", "flatten linear(classes)", "--epochs", 8, "--image-size", "14x20", data=ROOT / "pictures/train", name="folder")
    assert log[-1]["test_accuracy"] > 0.9, log[-1]
    for name in names[1:]:
        shutil.rmtree(ROOT / "pictures/train" / name)
    refuses("train", "--data", ROOT / "pictures/train", says=["pictures/train", "one class, ankle boot"])
    shutil.rmtree(ROOT / "pictures")


def test_json_is_utf8_whatever_a_file_is_called():
    model, picture = ROOT / "three.safetensors", ROOT / os.fsdecode(b"caf\xe9 \xff\x22.png")
    model.write_bytes(MODEL)
    picture.write_bytes(PNG)
    done = clgrad("predict", model, picture, "--json")
    assert done.returncode == 0 and done.stdout.isascii(), done
    assert os.fsencode(json.loads(done.stdout)["input"]) == os.fsencode(picture), done
    picture.unlink()


# ---- text -------------------------------------------------------------------------------------------------------


def test_gpt_learns_a_text_and_continues_a_prompt():
    text, out = ROOT / "text.txt", ROOT / "gpt.safetensors"
    text.write_text("to be, or not to be\n" * 26)
    said = succeeds("train", "--model", "gpt", "--data", text, "--epochs", 1, "--batch", 1, "--out", out)
    assert said.startswith("gpt, 520 characters, 9 different") and "train loss" in said, said
    words = [succeeds("predict", out, "--prompt", "to be", "--length", 7, "--seed", seed) for seed in (5, 5)]
    assert words[0] == words[1] and words[0].startswith("to be") and len(words[0]) == 5 + 7 + 1, words
    assert set(words[0]) <= set("to be, or not to be\n"), words
    refuses("predict", out, "--prompt", "x", says="0x78")
    refuses("predict", "nowhere.safetensors", says="nowhere")
    refuses("eval", out, "--data", DATA, says="metadata")
    text.write_text("short")
    refuses("train", "--model", "gpt", "--data", text, says="5 characters")
    refuses("train", "--model", "gpt", "--data", ROOT / "absent.txt", says="absent.txt")
    refuses("train", "--model", "gpt", status=2, says="--data")
    refuses("train", "--model", "gpt", "--data", text, "--log", "x", status=2, says="takes no options but")


# ---- devices ----------------------------------------------------------------------------------------------------


def test_devices():
    tree = succeeds("devices")
    assert tree.startswith("Platform #0: ") and tree.count("<- default") == 1, tree
    details = succeeds("devices", "-v")
    for text in ("OpenCL C", "largest allocation", "profile", "GEMM engine", "extensions", "ICD loader", "libOpenCL",
                 "OCL_ICD_VENDORS", "CLGRAD_PROFILE"):
        assert text in details, f"no {text!r} in {details}"


def test_devices_json():
    listed = json.loads(succeeds("devices", "--json"))
    default = [device for device in listed["devices"] if device["default"]]
    assert len(default) == 1 and default[0]["memory"] > 0 and "libOpenCL" in listed["icd_loader"], listed
    chosen = json.loads(succeeds("devices", "--json", "--device", default[0]["id"]))
    assert chosen["devices"] == listed["devices"]


def test_tune():
    env = {"XDG_CACHE_HOME": str(ROOT / "tune")}
    (ROOT / "tune").mkdir()
    for budget in ("0", "-1", "x", "nan", ""):
        refuses("tune", f"--budget={budget}", status=2, says="--budget" if budget else "")
    refuses("tune", "--forget", "--json", status=2, says="--forget")
    with tempfile.TemporaryDirectory() as pocl:
        refuses("tune", "--budget", "1", says="cache directory",
                env={"XDG_CACHE_HOME": "/dev/null/nowhere", "POCL_CACHE_DIR": pocl})
    both = [subprocess.Popen([CLGRAD, "tune", "--budget", "1", "--json"], env={**os.environ, **env}, text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)]
    for process in both:
        said, errors = process.communicate(timeout=120)
        told = json.loads(said)
        assert process.returncode == 0 and not errors and told["classes"] > 20, (said, errors)
        assert told["measured"] == len(told["rows"]) or not told["choices"], told
    assert os.path.isfile(told["file"]) and told["file"] in succeeds("tune", "--budget", "0.001", env=env)
    assert "nothing kept" in succeeds("tune", "--budget", "0.001", "--dry-run", env=env)
    assert "GEMM engine" in succeeds("devices", "-v", env=env)
    Path(told["file"]).write_bytes(b"clgrad-tuning 1 0000000000000000\n")
    done = clgrad("tune", "--budget", "0.001", env=env)
    assert done.returncode == 0 and done.stderr.count(told["file"]) == 1, done
    succeeds("tune", "--forget", env=env)
    assert not os.path.exists(told["file"])


def test_no_platform():
    env = {"OCL_ICD_VENDORS": "/nonexistent"}
    refuses("devices", env=env, says=["install", "pocl-opencl-icd"])
    refuses("devices", "--json", env=env, says="install")
    refuses("train", "--data", DATA, env=env, says="OpenCL")


def test_pocl_without_a_cache_directory():
    told = json.loads(succeeds("devices", "--json"))
    if any(not told["platforms"][device["platform"]]["name"].startswith("Portable") for device in told["devices"]):
        raise tap.Skip("other devices than pocl's")
    needs = ["cannot write there", "POCL_CACHE_DIR"]
    for command in (["devices", "--json"], ["train", "--data", DATA]):
        refuses(*command, env={"POCL_CACHE_DIR": "/proc/nowhere"}, says=[*needs, "/proc/nowhere"])
    # Ours is done without; its own cannot be.
    with tempfile.TemporaryDirectory() as pocl:
        succeeds("train", "--data", DATA, "--model", "flatten linear(10)", "--epochs", 1, "--out", ROOT / "uncached.safetensors",
                 env={"XDG_CACHE_HOME": "/proc/nowhere", "POCL_CACHE_DIR": pocl})
        tiny = Path(pocl) / "tiny"
        tiny.mkdir()
        if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", tiny], stderr=subprocess.DEVNULL).returncode:
            return
        try:
            refuses("train", "--data", DATA, "--model", "flatten linear(10)", env={"POCL_CACHE_DIR": str(tiny)}, cwd=ROOT,
                    says=["did not build", *needs, "No space left"])
        finally:
            subprocess.run(["umount", tiny], check=True)


def test_wrong_device_lists_the_candidates():
    name = json.loads(succeeds("devices", "--json"))["devices"][0]["name"]
    for device in ("frobnicate", "77:0", "0:77", "-1:0"):
        refuses("devices", "--device", device, says=name)
        refuses("train", "--data", DATA, "--device", device, says=name)
    refuses("devices", env={"CLGRAD_DEVICE": "frobnicate"}, says=name)


def test_wrong_profile():
    refuses("train", "--data", DATA, env={"CLGRAD_PROFILE": "frobnicate=1"}, says="frobnicate")


# ---- training ---------------------------------------------------------------------------------------------------


def test_trains_and_evaluates():
    for model in ("cnn", "mlp"):
        rows, out = train("--model", model, "--epochs", 6, name=model)
        assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5, 6]
        assert rows[-1]["test_accuracy"] >= 0.8 and rows[-1]["train_loss"] < rows[0]["train_loss"], rows
        told = json.loads(succeeds("eval", out, "--data", DATA, "--batch", 32, "--json"))
        assert told["network"] == model and told["examples"] == 101, told
        assert told["accuracy"] == rows[-1]["test_accuracy"] and abs(told["loss"] - rows[-1]["test_loss"]) < 1e-6
        # 101 images in batches of another size: the same means.
        other = json.loads(succeeds("eval", out, "--data", DATA, "--batch", 100, "--json"))
        assert other["accuracy"] == told["accuracy"] and abs(other["loss"] - told["loss"]) < 1e-5, (other, told)
        assert f"accuracy {100 * told['accuracy']:.2f}%" in succeeds("eval", out, "--data", DATA)


def test_sgd_trains():
    rows, _ = train("--model", "mlp", "--optimizer", "sgd", "--momentum", "0.9", "--lr", "0.02", "--epochs", 6)
    assert rows[-1]["test_accuracy"] >= 0.8, rows


def test_prints_a_line_an_epoch():
    text = succeeds("train", "--data", DATA, "--epochs", 3, "--out", ROOT / "lines.safetensors")
    assert sum(line.startswith("epoch ") for line in text.splitlines()) == 3 and "\r" not in text, text


def test_default_output_is_named_after_the_model():
    succeeds("train", "--data", DATA, "--epochs", 1, "--model", "mlp", cwd=ROOT)
    (ROOT / "clgrad-mlp.safetensors").unlink()


def test_same_seed_same_bytes():
    for model in ("cnn", "mlp"):
        _, first = train("--model", model, "--epochs", 2, "--seed", 7, name="first")
        _, second = train("--model", model, "--epochs", 2, "--seed", 7, name="second")
        _, other = train("--model", model, "--epochs", 2, "--seed", 8, name="other")
        assert filecmp.cmp(first, second, shallow=False)
        assert not filecmp.cmp(first, other, shallow=False)


def test_compressed_and_plain_files_are_the_same():
    directory = ROOT / "compressed"
    idx.write_pair(directory, "train", idx.images(300, 12, 12), compress=True)
    idx.write_pair(directory, "t10k", idx.images(101, 12, 12, seed=2), compress=True)
    _, plain = train("--epochs", 1, name="plain")
    _, compressed = train("--epochs", 1, data=directory, name="compressed")
    assert filecmp.cmp(plain, compressed, shallow=False)


def fashion():
    if not FASHION.is_dir():
        raise tap.Skip("no dataset-fashion-mnist")
    return "fashion-mnist"


def test_steady_state():
    for model in ("cnn", "mlp"):
        batch = 64
        rows, _ = train("--model", model, "--epochs", 3, "--limit", 2000, "--batch", batch, data=fashion())
        for row in rows[1:]:
            assert row["steps"] == 32, row
            assert 0 < row["bytes_to_device_per_step"] <= 8 * batch + 4096, row
            assert 0 < row["bytes_from_device_per_step"] <= 64, row
            assert row["device_allocations"] == 0 and row["program_builds"] == 0, row
        assert rows[-1]["test_accuracy"] > 0.6, rows


def test_gpu_profile_learns_the_same():
    env = {"CLGRAD_PROFILE": "gpu"}
    cpu, _ = train("--epochs", 2, "--limit", 2000, data=fashion(), env={"CLGRAD_PROFILE": "cpu"})
    gpu, _ = train("--epochs", 2, "--limit", 2000, data=fashion(), env=env)
    assert abs(cpu[-1]["test_accuracy"] - gpu[-1]["test_accuracy"]) < 0.02, (cpu, gpu)
    assert abs(cpu[0]["train_loss"] - gpu[0]["train_loss"]) < 0.01, (cpu, gpu)


def test_progress_on_a_terminal():
    mine, theirs = pty.openpty()
    command = [CLGRAD, "train", "--data", fashion(), "--epochs", "1", "--limit", "20000",
               "--out", str(ROOT / "terminal.safetensors")]
    child = subprocess.Popen(command, stdout=theirs, stderr=subprocess.PIPE, text=True)
    os.close(theirs)
    shown = b""
    try:
        while chunk := os.read(mine, 4096):
            shown += chunk
    except OSError:
        pass  # the terminal's other end is closed
    os.close(mine)
    assert child.wait() == 0, child.stderr.read()
    child.stderr.close()
    for text in (b"\repoch 1/1 [", b"images/s", b"left", b"%", b"\repoch 1/1  train loss"):
        assert text in shown, shown


# ---- measuring --------------------------------------------------------------------------------------------------


def test_bench_of_a_network():
    for model in ("cnn", "mlp"):
        told = json.loads(succeeds("bench", "--model", model, "--batch", 16, "--steps", 7, "--json"))
        assert told["model"] == model and told["batch"] == 16 and told["steps"] == 7, told
        assert 0 < told["best_seconds"] <= min(told["median_seconds"], told["mean_seconds"]) < 60, told
        assert abs(told["items_per_second"] * told["median_seconds"] - 16) < 1e-6, told
        assert told["flops_per_step"] > 1e6 and told["gflops"] > 0, told
        assert told["launches_per_step"] >= 5 and told["bytes_to_device_per_step"] <= 8 * 16 + 4096, told
        assert told["allocations"] == 0 and told["program_builds"] == 0 and told["host_seconds_per_step"] > 0, told
        assert 0 < told["planned_bytes"] <= told["unplanned_bytes"] and told["persistent_bytes"] > 0, told
        assert 0 < told["first_step_seconds"] < 300, told
        text = succeeds("bench", "--model", model, "--batch", 16, "--steps", 2)
        assert text.startswith(f"{model}, batch 16, on ") and "images/s" in text, text
        assert f"{told['launches_per_step']} launches, of which 2 gather" in text and told["bytes_per_step"] > 1e5, (text, told)


def test_bench_writes_weights_and_losses():
    curve, weights = ROOT / "curve.json", ROOT / "initial.safetensors"
    for _ in range(2):
        succeeds("bench", "--model", "mlp", "--batch", 32, "--loss-curve", curve, "--save-initial", weights)
    losses = json.loads(curve.read_text())
    assert len(losses) == 20 and 2 < losses[0] < 3 and losses[-1] < losses[0], losses
    assert weights.stat().st_size > 4 * 784 * 512
    curve.unlink(), weights.unlink()


def test_bench_writes_programs():
    directory = ROOT / "programs"
    succeeds("bench", "--model", "cnn", "--batch", 4, "--untimed", "--dump-programs", directory)
    sources = {path.name: path.read_text() for path in directory.iterdir()}
    assert any(name.startswith("conv2d") for name in sources) and any(name.startswith("generated-") for name in sources)
    assert all("#define WG " in text and "kernel void" in text for text in sources.values())
    shutil.rmtree(directory)


def check_trace(path, steps):
    events = json.loads(path.read_text())["traceEvents"]
    path.unlink()
    tracks = {event["tid"]: event["args"]["name"] for event in events if event["name"] == "thread_name"}
    assert sorted(tracks.values()) == ["downloads", "host", "kernels", "uploads"], tracks
    timed = [event for event in events if event["ph"] == "X"]
    assert all(event["dur"] >= 0 and event["ts"] > 0 and tracks[event["tid"]] == event["cat"] for event in timed)
    kernels = sorted((event["ts"], event["dur"]) for event in timed if event["cat"] == "kernels")
    assert len(kernels) > 5 * steps and any(event["name"] == "gemm" for event in timed)
    for (start, length), (following, _) in zip(kernels, kernels[1:]):
        assert start + length <= following + 1, "kernels of one queue overlap"
    hosts = [event for event in timed if event["cat"] == "host" and event["name"] == "step"]
    assert len(hosts) >= steps and hosts[0]["ts"] < kernels[0][0] + 1e3 and kernels[-1][0] < hosts[-1]["ts"] + 60e6
    assert any(event["cat"] == "uploads" and event["args"]["bytes"] > 0 for event in timed)
    return timed


def test_traces():
    check_trace((succeeds("bench", "--model", "mlp", "--steps", 3, "--trace", ROOT / "t"), ROOT / "t")[1], 3)
    train("--epochs", 2, "--trace", ROOT / "t")
    timed = check_trace(ROOT / "t", 20)
    assert any(event["cat"] == "downloads" for event in timed) and any("wait" in event["name"] for event in timed)
    train("--epochs", 2, "--trace", ROOT / "t", env={"CLGRAD_STREAM": "1"})
    names = [event["name"] for event in check_trace(ROOT / "t", 20)]
    assert names.count("send") >= names.count("step"), "every batch's bytes are a transfer"


def test_bench_dumps_its_plan():
    text = succeeds("bench", "--model", "cnn", "--batch", 4, "--steps", 3, "--dump-plan")
    steps = [line for line in text.splitlines() if re.match(r" *[0-9]+  [a-z]", line)]
    launches = [line for line in text.splitlines() if line.startswith("        ")]
    assert len(launches) >= 5 and all(re.search(r", [0-9.]+ ms$", line) for line in launches), text
    assert any("conv2d_backward_filter [4, 1, 28, 28] [4, 32, 26, 26] -> [32, 1, 3, 3]" in line for line in steps), text
    assert sum(" ms, " in line and " GB/s, " in line and " GFLOP/s" in line for line in steps) >= 5, text
    # 32 outputs of 26 x 26 pixels from 9 taps, a multiply-add each
    assert any("conv2d_backward_filter" in line and f", {4 * 32 * 676 * 9 * 2 / 1e6:.3f} Mflop" in line for line in steps)
    flops = [float(number) for number in re.findall(r"([0-9.]+) Mflop", text)]
    assert abs(sum(flops[:-1]) - flops[-1]) < 0.001 * len(flops), flops


def test_bench_of_operators():
    names = re.search(r"--op (\S+)", succeeds("help", "bench"))[1].split("|")
    special = {"matmul": ["17,33,9", "--trans", "TN"], "adam": ["1000"], "launches": ["30"], "attention": ["2,9,2,8"],
               "batch_norm": ["2,3,5,7"], **{name: ["2,4,9,6", "--stride", 2, "--pad", 1, "--groups", 2]
                                             for name in names if name.startswith("conv2d")}}
    for name in names:
        shape = special.get(name, ["7,33"])
        told = json.loads(succeeds("bench", "--op", name, "--shape", *shape, "--steps", 5, "--json"))
        assert told["op"] == name and told["shape"] == [int(part) for part in shape[0].split(",")], told
        assert told["steps"] == 5 and 0 < told["best_seconds"] <= min(told["median_seconds"], told["mean_seconds"]) and told["launches"] >= 1, told
        assert told["bytes"] > 0 and told["peak_gflops"] > 0 and told["copy_gigabytes_per_second"] > 0, told
        assert told["limit"] in ("arithmetic", "memory") and told["roofline_fraction"] > 0, told
    told = json.loads(succeeds("bench", "--op", "matmul", "--shape", "17,33,9", "--steps", 1, "--json"))
    assert told["flops"] == 2 * 17 * 33 * 9 and told["bytes"] == 4 * (17 * 9 + 9 * 33 + 17 * 33), told
    both = json.loads(succeeds("bench", "--op", "matmul", "--shape", "17,33,9", "--backward", "--steps", 1, "--json"))
    assert both["flops"] == 2 * told["flops"] and both["launches"] >= 2, both
    refuses("bench", "--op", "launches", "--shape", 10001, says="at most 10000")
    text = succeeds("bench", "--op", "softmax", "--shape", "9,5", "--backward", "--steps", 1)
    assert (int(re.search(r"roofline +(\d+)%", text)[1]) > 105) == ("was busy" in text), text
    assert "softmax" in succeeds("bench", "--op", "softmax", "--shape", "9,5", "--steps", 1, "--dump-plan")


def test_bench_of_predictions():
    told = json.loads(succeeds("bench", "--model", "mlp", "--eval", "--batch", 16, "--steps", 3, "--json"))
    assert told["eval"] and told["launches_per_step"] < 6 and told["bytes_from_device_per_step"] == 0, told
    refuses("bench", "--model", "mlp", "--eval", "--loss-curve", ROOT / "curve", status=2, says="--eval")
    refuses("bench", "--op", "add", "--eval", "--shape", "9", status=2, says="--eval")
    # no pass over a convolution's result for batch norm, ReLU or a residual: what is pointwise has a channel's numbers
    text = succeeds("bench", "--model", "resnet18", "--eval", "--batch", 1, "--untimed", "--dump-plan")
    packs = re.findall(r"^ {8}(?:conv2d_direct.conv2d_pack|winograd.winograd_weights|pointwise_0),.*$", text, re.M)
    assert len(packs) > 20 and all(launch.endswith(", kept") for launch in packs), text
    left = [step for step in re.findall(r"^ *\d+  (\S+.*)$", text, re.M) if not step.startswith(("conv2d+mul+add", "add+sqrt"))]
    assert [step.split()[0] for step in left] == ["max_pool2d", "sum", "matmul"], left
    assert text.count("conv2d+mul+add") == 20 and text.count("add+sqrt+div+mul+sub") == 20, text
    # nor are weights packed in a steady step, which is what is counted; its input takes two launches
    text = succeeds("bench", "--model", "cnn", "--eval", "--batch", 1, "--untimed", "--dump-plan")
    launches, kept = map(int, re.search(r"(\d+) launches \((\d+) kept\)", text).groups())
    told = json.loads(succeeds("bench", "--model", "cnn", "--eval", "--batch", 1, "--steps", 3, "--json"))
    assert kept == told["kept_launches"] > 0 and told["launches_per_step"] == launches - kept + 2, (text, told)
    assert "of the first step made is kept" in succeeds("bench", "--model", "cnn", "--eval", "--batch", 1, "--steps", 3)


def test_measuring_tools_refuse():
    tools = Path(__file__).resolve().parents[1] / "tools/bench"
    for tool, option, wrong in (
            *(("versus", option, wrong) for option in ("--rounds", "--threads") for wrong in ("0", "-1", "x")),
            *(("versus", "--seconds", wrong) for wrong in ("0", "-1", "nan", "x")), ("gpu-report", "--programs", "/nonexistent"),
            *((tool, "--clgrad", wrong) for tool in ("versus", "gpu-report") for wrong in ("/nonexistent", "/etc"))):
        done = subprocess.run([sys.executable, tools / tool, f"{option}={wrong}"], capture_output=True, text=True)
        assert done.returncode == 2 and "Traceback" not in done.stderr and not done.stdout, (tool, option, wrong, done)
        assert option in done.stderr.splitlines()[-1] and wrong in done.stderr.splitlines()[-1], done.stderr


def test_bench_refuses():
    refuses("bench", "--model", "mlp", "--op", "add", status=2, says=["--model", "leave out --op"])
    refuses("bench", "--model", "mlp", "--shape", "3", status=2, says="--shape")
    refuses("bench", "--op", "add", status=2, says=["--shape", "extents"])
    for shape in ("", "0", "1,", ",1", "x", "-3", "1,2,3,4,5,6", "2147483648", "2147483647,2147483647,2147483647"):
        refuses("bench", "--op", "add", "--shape", shape, status=2)
    refuses("bench", "--op", "matmul", "--shape", "1,2", status=2, says="M,N,K")
    refuses("bench", "--op", "adam", "--shape", "5", "--backward", status=2, says="--backward")
    refuses("bench", "--op", "conv2d", "--shape", "1,3,4,4", "--groups", 2, says=["conv2d", "groups"])
    refuses("bench", "--op", "add", "--shape", "9", "--device", "frobnicate", says="frobnicate")
    for first, beside in (("dump-plan", "json"), ("dump-plan", "loss-curve=x"), ("dump-plan", "trace=x"), ("trace=x", "json"),
                          ("loss-curve=x", "trace=x"), ("loss-curve=x", "json"), ("loss-curve=x", "eval")):
        says = ["--" + first.split("=")[0], "--" + beside.split("=")[0]]
        refuses("bench", "--model", "mlp", "--" + beside, "--" + first, status=2, says=says)
    for beside in ("loss-curve=x", "trace=x", "json", "steps=3"):
        refuses("bench", "--model", "mlp", "--untimed", "--dump-plan", "--" + beside, status=2, says=["--untimed", beside.split("=")[0]])
    for op, shape, own in (("softmax", "9,5", "--trans=NT"), ("softmax", "9,5", "--pad=0"), ("matmul", "2,2,2", "--kernel=3"),
                           ("conv2d", "1,2,4,2", "--trans=NN"), ("copy", "9", "--stride=1")):
        refuses("bench", "--op", op, "--shape", shape, own, status=2, says=[op, own.split("=")[0]])
    refuses("bench", "--model", "mlp", "--pad", 0, status=2, says="--pad")
    refuses("bench", "--op", "conv2d", "--shape", "1,2,4,2", "--pad", -1, status=2, says="from 0 to")
    assert "[1, 2, 4, 4] [2, 2, 3, 3] -> [1, 2, 2, 2]" in succeeds("bench", "--op", "conv2d", "--shape", "1,2,4,2", "--pad", 0,
                                                                  "--steps", 1, "--dump-plan")
    refuses("bench", "--model", "mlp", "--trace", ROOT / "no/such", says="--trace")
    refuses("train", "--data", DATA, "--out", ROOT / "m", "--trace", ROOT / "m", status=2, says="same file")
    refuses("train", "--data", DATA, "--out", ROOT / "m", "--trace", ROOT / "no/such", says="--trace")
    refuses("bench", "--model", "mlp", "--untimed", status=2, says="--untimed")
    refuses("bench", status=2, says=["--model", "--op"])
    refuses("bench", "--model", "frobnicate", status=2, says="--model")
    refuses("bench", "--model", "mlp", "--steps", 0, status=2, says="--steps")
    refuses("bench", "--model", "mlp", "--device", "frobnicate", says="frobnicate")
    refuses("bench", "--model", "mlp", "--dump-programs", ROOT / "no/such", says="--dump-programs")
    refuses("bench", "--model", "mlp", "--loss-curve", ROOT / "no/such", says="--loss-curve")
    refuses("bench", "--model", "mlp", "--save-initial", ROOT / "no/such", says="no/such")


# ---- bad data ---------------------------------------------------------------------------------------------------


def refuses_data(directory, says, *arguments, **more):
    refuses("train", "--data", directory, "--out", ROOT / "bad.safetensors", "--log", ROOT / "bad.log", "--batch", 8,
            *arguments, says=says, **more)


def test_missing_files():
    refuses_data(ROOT / "nowhere", "nowhere")
    directory = variant("no-labels")
    (directory / "train-labels-idx1-ubyte").unlink()
    refuses_data(directory, "train-labels")
    directory = variant("no-test")
    (directory / "t10k-images-idx3-ubyte").unlink()
    refuses_data(directory, "t10k-images")
    refuses_data(DATA / "train-images-idx3-ubyte", "train")


def test_labels_out_of_range():
    labels = part("labels-idx1")
    refuses_data(variant("label", labels=labels[:-1] + b"\xff"), ["255", "10 classes"])
    test = part("labels-idx1", "t10k")
    refuses_data(variant("test-label", part="t10k", labels=test[:-1] + b"\x0a"), "test labels")


def test_shapes_that_do_not_fit():
    directory = ROOT / "variants/tiny"
    idx.write_pair(directory, "train", idx.images(20, 2, 2))
    idx.write_pair(directory, "t10k", idx.images(20, 2, 2))
    refuses_data(directory, ["conv2d", "2, 2]"])
    directory = variant("mixed")
    idx.write_pair(directory, "t10k", idx.images(20, 14, 14))
    refuses_data(directory, ["14", "12"])


def test_empty_data():
    empty = (12, 12, b"", b"")
    for of in ("train", "t10k"):
        directory = variant(f"empty-{of}")
        idx.write_pair(directory, of, empty)
        refuses_data(directory, "")


def test_batch_larger_than_the_data():
    refuses_data(DATA, ["301", "300"], "--batch", 301)
    refuses_data(DATA, ["33", "32"], "--limit", 32, "--batch", 33)
    refuses_data(DATA, "2147483647", "--batch", 2147483647)


def test_model_larger_than_the_device():
    directory = ROOT / "variants/large"
    side = 1024  # the mlp's first layer takes 2 GiB, of a device held to 1
    env = {"POCL_MEMORY_LIMIT": "1"}
    for of in ("train", "t10k"):
        idx.write_pair(directory, of, (side, side, bytes(side * side), b"\0"), compress=True)
    if json.loads(succeeds("devices", "--json", env=env))["devices"][0]["memory"] > 1 << 30:
        raise tap.Skip("a device whose memory cannot be held to 1 GiB")
    refuses_data(directory, ["needs", "1024.0 MiB"], "--model", "mlp", "--batch", 1, env=env)


# ---- bad outputs ------------------------------------------------------------------------------------------------


def test_unwritable_outputs():
    common = ["train", "--data", DATA, "--epochs", 1]
    refuses(*common, "--out", ROOT / "no/such/model", says=["--out", "no/such/model"])
    refuses(*common, "--out", ROOT, says=["--out", "regular file"])
    refuses(*common, "--out", "/dev/full", says=["--out", "regular file"])
    refuses(*common, "--out", ROOT / "m.safetensors", "--log", ROOT / "no/such.log", says=["--log", "no/such.log"])
    refuses(*common, "--out", ROOT / "m.safetensors", "--log", ROOT, says="--log")
    done = clgrad(*common, "--out", ROOT / "m.safetensors", "--log", "/dev/full")  # a log is not worth a training
    assert done.returncode == 0 and "--log /dev/full: cannot write: No space" in done.stderr, done
    (ROOT / "m.safetensors").unlink()
    (ROOT / "net.spec").write_text("flatten linear(10)")
    for option in ("--out", "--log", "--report", "--trace", "--checkpoint"):  # nothing that is read is written
        refuses("train", "--data", DATA, "--model", f"@{ROOT / 'net.spec'}", option, ROOT / "." / "net.spec", status=2, says="same file")
    (ROOT / "net.spec").unlink()
    images = Path(DATA) / "train-images-idx3-ubyte"
    kept = images.read_bytes()
    refuses("train", "--data", DATA, "--model", "mlp", "--out", images, status=2, says="file of the data")
    assert images.read_bytes() == kept
    refuses(*common, "--out", ROOT / "m", "--log", ROOT / "m", status=2, says="same file")
    assert Path("/dev/full").is_char_device()


def test_a_reader_that_goes_does_not_end_a_training():
    out = ROOT / "unread.safetensors"
    child = subprocess.Popen([CLGRAD, "train", "--data", DATA, "--model", "flatten linear(10)", "--epochs", "200", "--out", out],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    child.stdout.readline()
    child.stdout.close()
    errors = child.stderr.read()
    assert child.wait(timeout=120) == 1 and errors.count("standard output: Broken pipe") == 1, errors
    assert json.loads(succeeds("eval", out, "--data", DATA, "--json"))["accuracy"] > 0.8


def test_where_programs_go_must_be_there():
    model = ROOT / "undumped.safetensors"
    refuses("train", "--data", DATA, "--out", model, env={"CLGRAD_DUMP_PROGRAMS": "/nowhere"}, says=["/nowhere", "CLGRAD_DUMP_PROGRAMS"])


def test_diverged_training_saves_nothing():
    before = listing()
    done = clgrad("train", "--data", DATA, "--model", "mlp", "--optimizer", "sgd", "--lr", "1e30", "--epochs", 3,
                  "--out", ROOT / "diverged.safetensors")
    assert done.returncode == 3 and "--lr" in done.stderr and listing() == before, done


def test_model_and_data_of_other_shapes():
    _, good = train("--model", "mlp", "--epochs", 1, name="good")
    directory = ROOT / "variants/fourteen"
    idx.write_pair(directory, "t10k", idx.images(20, 14, 14))
    refuses("eval", good, "--data", directory, says=["[1, 14, 14]", "[1, 12, 12]"])


tap.run(sys.modules[__name__])
