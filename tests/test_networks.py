"""test_networks.py CLGRAD - layer lists through the program: trained, saved, and used from the file alone."""
import json
import struct
import sys

import tap
from program import DATA, ROOT, refuses, succeeds

SPEC = "conv2d(4,3) relu max_pool2d(2) flatten head:linear(10)"


def train(spec, *arguments, name="model"):
    """One short epoch; returns what it said and the model's path."""
    out = ROOT / f"{name}.safetensors"
    return succeeds("train", "--data", DATA, "--model", spec, "--epochs", 1, "--batch", 32, "--out", out, *arguments, cwd=ROOT), out


def header(path):
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8:8 + size]), data[8 + size:]


def with_metadata(path, **changes):
    """A copy of the model with other metadata (None: without)."""
    head, body = header(path)
    meta = {key: value for key, value in {**head["__metadata__"], **changes}.items() if value is not None}
    text = json.dumps({**head, "__metadata__": meta}).encode()
    copy = path.with_name("changed.safetensors")
    copy.write_bytes(struct.pack("<Q", len(text)) + text + body)
    return copy


def test_layer_list_trains_and_evaluates():
    said, out = train(SPEC, "--log", ROOT / "log")
    row = json.loads((ROOT / "log").read_text())
    head, _ = header(out)
    assert head["__metadata__"] == {"network": SPEC, "classes": "10", "input": "1,12,12"}, head
    assert {"conv2d1.weight", "conv2d1.bias", "head.weight", "head.bias"} < set(head), head
    told = json.loads(succeeds("eval", out, "--data", DATA, "--json"))
    assert told["network"] == SPEC and told["accuracy"] == row["test_accuracy"], told
    # Files of version 0.1 have "image" in place of "input".
    old = json.loads(succeeds("eval", with_metadata(out, input=None, image="1,12,12"), "--data", DATA, "--json"))
    assert old["loss"] == told["loss"], old


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


def test_every_layer_is_listed():
    text = succeeds("layers")
    assert succeeds("help", "layers").startswith("Usage: clgrad layers")
    for word in ("conv2d", "channels", "whole, or HxW", "dropout", "lstm", "sequence", "batch_norm", "0.01 unless given"):
        assert word in text, text


tap.run(sys.modules[__name__])
