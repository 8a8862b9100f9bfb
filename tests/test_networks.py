"""test_networks.py CLGRAD - layer lists through the program: trained, saved, and used from the file alone."""
import json
import os
import re
import struct
import sys
import zlib
from pathlib import Path

import tap
from program import DATA, ROOT, refuses, succeeds

SPEC = "conv2d(4,3) relu max_pool2d(2) flatten head:linear(10)"


def train(spec, *arguments, name="model", env=None):
    """One short epoch; returns what it said and the model's path."""
    out = ROOT / f"{name}.safetensors"
    return succeeds("train", "--data", DATA, "--model", spec, "--epochs", 1, "--batch", 32, "--out", out, *arguments, cwd=ROOT, env=env), out


def header(path):
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8:8 + size]), data[8 + size:]


def with_metadata(path, **changes):
    """A copy of the model with other metadata (None: without)."""
    head, body = header(path)
    changes = {"clgrad.checksum": None, **changes}
    meta = {key: value for key, value in {**head["__metadata__"], **changes}.items() if value is not None}
    text = json.dumps({**head, "__metadata__": meta}).encode()
    copy = path.with_name("changed.safetensors")
    copy.write_bytes(struct.pack("<Q", len(text)) + text + body)
    return copy


def test_layer_list_trains_and_evaluates():
    said, out = train(SPEC, "--log", ROOT / "log")
    row = json.loads((ROOT / "log").read_text())
    head, _ = header(out)
    assert head["__metadata__"].pop("clgrad.checksum")
    assert head["__metadata__"] == {"network": SPEC, "classes": "10", "input": "1,12,12"}, head
    assert {"conv2d1.weight", "conv2d1.bias", "head.weight", "head.bias"} < set(head), head
    told = json.loads(succeeds("eval", out, "--data", DATA, "--json"))
    assert told["network"] == SPEC and told["accuracy"] == row["test_accuracy"], told
    # Files of version 0.1 have "image" in place of "input".
    old = json.loads(succeeds("eval", with_metadata(out, input=None, image="1,12,12"), "--data", DATA, "--json"))
    assert old["loss"] == told["loss"], old


def test_many_programs_are_built_together():
    # several of one unit, so that names which a bundle overlooks meet; what does not build together is built one by one
    spec = "conv2d(16,5,stride=2) relu conv2d(18,2,stride=1) relu conv2d(16,2,groups=2) tanh flatten linear(10)"
    shared = Path(os.environ["XDG_CACHE_HOME"])
    env = {"XDG_CACHE_HOME": str(ROOT / "cache"), "POCL_CACHE_DIR": str(shared / "pocl" / "kcache"), "CLGRAD_BUILDERS": "0"}
    train(spec, "--trace", ROOT / "trace", env=env)
    names = [event["name"] for event in json.loads((ROOT / "trace").read_text())["traceEvents"]]
    assert "a bundle of programs" in names and "cl/conv2d_direct.cl" not in names, set(names)


def test_layer_list_from_a_file():
    _, plain = train(SPEC, name="plain")
    (ROOT / "net.spec").write_text("# the same\n" + SPEC.replace(" ", "   # a layer\n\t"))
    for given in ("net.spec", "@net.spec", f"@{ROOT}/net.spec"):
        _, out = train(given, name="file")
        assert out.read_bytes() == plain.read_bytes()
    refuses("train", "--model", "@absent", status=2, says=["--model", "absent"])
    refuses("train", "--model", "absent.spec", status=2, says="absent.spec")
    refuses("train", "--model", f"@{ROOT}", status=2, says="--model")
    (ROOT / "net.spec").write_text("flatten\nlinear(10)\n\n  frob  # ?\n")
    refuses("train", "--model", "net.spec", status=2, says="layer 'frob'\n    frob  # ?\n    ^\n")
    (ROOT / "net.spec").write_bytes(bytes(70000))
    refuses("train", "--model", "net.spec", status=2, says="65536")
    (ROOT / "net.spec").unlink()


def test_mistakes_are_pointed_at():
    for spec, says in {"conv2d(,3) relu": "conv2d needs channels\n  conv2d(,3) relu\n         ^\n",
                       "relu liner(3)": "did you mean linear?\n  relu liner(3)\n       ^\n", " ": "there is no layer",
                       "cnm": "cnn|mlp", "linear(10": "text ends"}.items():
        refuses("train", "--model", spec, status=2, says=["clgrad train: --model: ", says, "clgrad help train"])
    fits = {"conv2d(4,3) relu linear(10)": ["flatten", "[2, 4, 10, 10]", "\n                   ^"],
            "conv2d(4,3) max_pool2d(20) flatten linear(10)": ["max_pool2d", "\n              ^"],
            "flatten linear(10) softmax": ["the loss has its own", "\n                     ^"],
            "flatten linear(300)": "256", "flatten relu": "nothing to learn", "flatten scale(1) reshape(12,12) lstm(7)": "labels",
            "flatten lstm(3)": "lstm", "flatten reshape(12,12) transpose(1,2) global_avg_pool2d": "pool"}
    for spec, says in fits.items():
        status = 1 if says == "labels" else 2
        refuses("train", "--data", DATA, "--model", spec, "--epochs", 1, status=status, says=says)
    refuses("train", "--data", DATA, "--model", SPEC, "--classes", 11, status=2, says=["10 outputs", "11 classes", "^"])


def test_damaged_descriptions():
    _, out = train(SPEC)
    for changes in ({"network": "conv2d(4"}, {"network": ""}, {"network": None}, {"classes": "0"}, {"classes": "257"},
                    {"input": "1,12"}, {"input": "1,,12"}, {"input": "1,12,12,"}, {"input": "-1,12,12"}, {"input": None},
                    {"input": "1,1,1,1,1,1"}, {"input": "2147483648,1,1"}, {"input": "1,12,13"}, {"mean": "x"}, {"mean": "1,2"},
                    {"std": "0"}, {"std": "nan"}, {"class_names": "[]"}, {"class_names": "[1,2,3,4,5,6,7,8,9,10]"},
                    {"class_names": "{"}, {"class_names": '["a"]'}):
        refuses("eval", with_metadata(out, **changes), "--data", DATA)
    (ROOT / "changed.safetensors").unlink()


def test_normalisation_is_part_of_the_network():
    _, out = train(SPEC)
    losses = [json.loads(succeeds("eval", with_metadata(out, **changes), "--data", DATA, "--json"))["loss"]
              for changes in ({}, {"mean": "0", "std": "1"}, {"mean": "0.5"}, {"std": "0.25"})]
    assert losses[0] == losses[1] and len(set(losses)) == 3, losses
    names = json.dumps([f"class {i}" for i in range(10)])
    assert json.loads(succeeds("eval", with_metadata(out, class_names=names), "--data", DATA, "--json"))["loss"] == losses[0]
    (ROOT / "changed.safetensors").unlink()


def write_png(path, pixels, height, width):
    """Grey, without libpng."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    rows = b"".join(b"\0" + pixels[width * y:width * (y + 1)] for y in range(height))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)) +
                     chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def test_predicts_pictures():
    _, out = train("flatten linear(10)", "--epochs", 3, name="linear")
    pixels = (DATA / "t10k-images-idx3-ubyte").read_bytes()[16:]
    labels = (DATA / "t10k-labels-idx1-ubyte").read_bytes()[8:]
    files = []
    for i in range(40):
        files.append(ROOT / f"{i}.png")
        write_png(files[-1], pixels[144 * i:144 * (i + 1)], 12, 12)
    told = [json.loads(line) for line in succeeds("predict", out, *files, "--json", "--top", 10, "--batch", 7).splitlines()]
    assert [row["input"] for row in told] == [str(path) for path in files]
    right = sum(row["classes"][0]["class"] == label for row, label in zip(told, labels))
    accuracy = json.loads(succeeds("eval", out, "--data", DATA, "--json"))["accuracy"]
    assert abs(right / 40 - accuracy) < 0.2 and right >= 10, (right, accuracy)
    for row in told:
        chances = [item["probability"] for item in row["classes"]]
        assert len(chances) == 10 and abs(sum(chances) - 1) < 1e-5 and chances == sorted(chances, reverse=True), row
    # One alone, with names; a size of its own; in place of a folder, a text.
    named = with_metadata(out, class_names=json.dumps([f"kind {i}" for i in range(10)]))
    best = told[0]["classes"][0]
    text = succeeds("predict", named, files[0])
    assert text.startswith(f"{files[0]}: kind {best['class']} {100 * best['probability']:.2f}%, kind ") and text.count("%") == 5, text
    write_png(files[1], bytes(range(200)) * 3, 20, 30)
    assert json.loads(succeeds("predict", named, "--json", files[1], "--top", 1))["classes"][0]["name"].startswith("kind")
    files[2].write_text("no picture")
    refuses("predict", out, *files[:3], says=str(files[2]))
    refuses("predict", out, ROOT / "absent.png", says="absent.png")
    refuses("predict", out, ROOT, says=str(ROOT))
    refuses("predict", out, status=2, says="INPUT")
    refuses("predict", out, files[0], "", status=2, says="INPUT")
    refuses("predict", out, files[0], "--prompt", "x", status=2, says="--prompt")
    refuses("predict", out, files[0], "--top", 0, status=2, says="--top")
    refuses("predict", status=2, says="MODEL")
    refuses("predict", ROOT / "absent", files[0], says="absent")
    for path in [*files, named]:
        path.unlink()


def test_explains_a_picture():
    _, out = train("flatten linear(10)", name="linear")
    picture, saliency = ROOT / "picture.png", ROOT / "saliency.png"
    write_png(picture, (DATA / "t10k-images-idx3-ubyte").read_bytes()[16:160], 12, 12)
    told = re.search(r": class (\d), score (\S+), (\S+) for black; the pixels' shares sum to (\S+)\n",
                     succeeds("explain", out, picture, "-o", saliency, "--steps", 4))
    score, black, shares = map(float, told.groups()[1:])
    assert abs(score - black - shares) < 1e-3, told[0]  # exact for a linear network
    best = json.loads(succeeds("predict", out, picture, "--json"))["classes"][0]["class"]
    assert int(told[1]) == best, told[0]
    assert struct.unpack(">II", saliency.read_bytes()[16:24]) == (2 * 21 * 12 + 8, 21 * 12)
    assert ": class 2, " in succeeds("explain", out, picture, "--out", saliency, "--class", 2, "--steps", 4)
    told = json.loads(succeeds("explain", out, picture, "--out", saliency, "--class", 2, "--steps", 4, "--json"))
    assert told["class"] == 2 and told["out"] == str(saliency) and abs(told["score"] - told["black"] - told["sum"]) < 1e-3, told
    saliency.unlink()
    refuses("explain", out, picture, status=2, says="--out")
    refuses("explain", out, status=2, says="IMAGE")
    for wrong in ("10", "-1", "shirt", "1x"):
        refuses("explain", out, picture, "-o", saliency, f"--class={wrong}", says=["10 classes", wrong])
    refuses("explain", out, "absent.png", "-o", saliency, says="absent.png")
    refuses("explain", "absent", picture, "-o", saliency, says="absent")
    refuses("explain", out, picture, "-o", ROOT / "no/such.png", says="no/such.png")
    picture.unlink()


def csv(name, columns, rows):
    path = ROOT / name
    path.write_text("\n".join(",".join(map(str, row)) for row in [columns, *rows]) + "\n")
    return path


def test_predicts_rows():
    rows = [(a, b, "red" if a > b else "blue", 2 * a - b) for a in range(8) for b in range(8)]
    plain = csv("rows.csv", ["a", "b"], [row[:2] for row in rows])
    common = ["--batch", 8, "--epochs", 40, "--lr", "0.02", "--normalize", "--out", ROOT / "rows.safetensors"]
    for answer, at in ("colour", 2), ("y", 3):
        table = csv("table.csv", ["a", "b", answer], [(*row[:2], row[at]) for row in rows])
        spec = "linear(16) relu linear(classes)" if at == 2 else "linear(16) relu linear(1)"
        succeeds("train", "--data", table, "--label" if at == 2 else "--target", answer, "--model", spec, *common)
        text = succeeds("predict", ROOT / "rows.safetensors", plain, "--json", "--batch", 10)
        assert text == succeeds("predict", ROOT / "rows.safetensors", table, "--json", "--batch", 10).replace("table.csv", "rows.csv")
        moved = csv("moved.csv", ["b", "c", answer, "a"], [(row[1], 9, row[at], row[0]) for row in rows])  # columns go by name
        assert text == succeeds("predict", ROOT / "rows.safetensors", moved, "--json", "--batch", 10).replace("moved.csv", "rows.csv")
        measured = [succeeds("eval", ROOT / "rows.safetensors", "--data", data) for data in (table, moved)]
        assert measured[0] == measured[1], measured
        told = [json.loads(line) for line in text.splitlines()]
        assert [(row["row"], row["line"]) for row in told] == [(i, i + 1) for i in range(1, 65)], told
        if at == 2:
            assert sum(row["classes"][0]["name"] == real[2] for row, real in zip(told, rows)) > 50, told
            assert "rows.csv: line 65: " in succeeds("predict", ROOT / "rows.safetensors", plain, "--top", 1).splitlines()[-1]
        else:
            mean = sum(row[3] for row in rows) / 64
            left = sum((row["values"][0] - real[3]) ** 2 for row, real in zip(told, rows))
            assert left < 0.5 * sum((real[3] - mean) ** 2 for real in rows), told
    array = b"\x93NUMPY\1\0\x76\0" + b"{'descr': '<f4', 'fortran_order': False, 'shape': (64, 2), }".ljust(117) + b"\n"
    (ROOT / "rows.npy").write_bytes(array + b"".join(struct.pack("<2f", *row[:2]) for row in rows))
    lineless = re.sub('"line":[0-9]+,', "", text.replace(".csv", ".npy"))
    assert lineless == succeeds("predict", ROOT / "rows.safetensors", ROOT / "rows.npy", "--json", "--batch", 10)
    assert "rows.npy: row 64: " in succeeds("predict", ROOT / "rows.safetensors", ROOT / "rows.npy").splitlines()[-1]
    refuses("predict", ROOT / "rows.safetensors", csv("other.csv", ["a", "c"], [(1, 2)]), says=["other.csv", '"b"', "a, c"])
    refuses("predict", ROOT / "rows.safetensors", csv("holes.csv", ["a", "b"], [(1, "")]), says=["holes.csv", "line 2", '"b"'])
    refuses("predict", ROOT / "rows.safetensors", "absent.csv", says="absent.csv")
    refuses("predict", ROOT / "rows.safetensors", "absent.png", says="not pictures")


def test_summary():
    _, out = train(SPEC)
    told = json.loads(succeeds("summary", out, "--batch", 32, "--json"))
    assert told == json.loads(succeeds("summary", SPEC, "--input", "1,12,12", "--batch", 32, "--json"))
    assert told["network"] == SPEC and told["input"] == [1, 12, 12] and told["outputs"] == 10 and told["batch"] == 32, told
    assert [row["kind"] for row in told["layers"]] == ["conv2d", "relu", "max_pool2d", "flatten", "linear"], told
    assert [row["output"] for row in told["layers"]][::2] == [[32, 4, 10, 10], [32, 4, 5, 5], [32, 10]], told
    assert [row["parameters"] for row in told["layers"]] == [40, 0, 0, 0, 1010] and told["parameters"] == 1050, told
    assert told["layers"][0]["flops"] == 2 * 32 * 4 * 100 * 9 and told["layers"][4]["flops"] == 2 * 32 * 100 * 10, told
    assert told["training"]["flops"] > told["inference"]["flops"] >= told["layers"][0]["flops"], told
    for plan in (told["inference"], told["training"]):
        assert plan["launches"] > 0 and 0 < plan["planned_bytes"] <= plan["unplanned_bytes"], plan
    text = succeeds("summary", out, "--batch", 32)
    for word in ("head", "[32, 4, 10, 10]", "1050", "inference", "training", "MiB planned"):
        assert word in text, text
    refuses("summary", "conv2d(,3)", status=2, says="conv2d needs channels\n  conv2d(,3)\n         ^\n")
    refuses("summary", SPEC, "--input", "12,12", status=2, says=["conv2d1", "^"])
    refuses("summary", SPEC, "--classes", 3, status=2, says="3 classes")
    for extents in ("", "1,", "x", "0,1,1", "1,1,1,1,1,1", "1 1"):
        refuses("summary", SPEC, f"--input={extents}", status=2)
    refuses("summary", "cnn", "--input", "1,1,1", says="conv2d")
    refuses("summary", "cnn", "--input", "5", status=2, says="3 extents")
    refuses("summary", out, "--input", "1,12,12", status=2, says="--input")
    refuses("summary", ROOT / "absent.safetensors", status=2)
    refuses("summary", ROOT, says=str(ROOT))
    refuses("summary", DATA / "train-labels-idx1-ubyte", says="train-labels")
    refuses("summary", status=2, says="NETWORK")


def test_every_layer_is_listed():
    text = succeeds("layers")
    for command in ("layers", "summary", "predict", "explain"):
        assert succeeds("help", command) == succeeds(command, "--help") and f"  {command} " in succeeds("help")
        assert succeeds("help", command).startswith(f"Usage: clgrad {command}")
    for word in ("conv2d", "channels", "whole, or HxW", "dropout", "lstm", "sequence", "batch_norm", "0.01 unless given"):
        assert word in text, text
    kinds = json.loads(succeeds("layers", "--json"))
    assert [kind["name"] for kind in kinds] == re.findall(r"^  ([a-z_0-9]+) ", text, re.M)
    assert all(f"      {a['name']} " in text and a["form"] in text for kind in kinds for a in kind["arguments"])


tap.run(sys.modules[__name__])
