"""test_malformed.py CLGRAD - what must not be believed: damaged files and wrong command lines, each a case.

A row is (name, command, says, files,
          status): `files` lie alone in a directory where `command` runs; it must end with `status`,
say one message that has all of `says` (the place: a file, an option, a line and column, a caret),
and leave the directory as it
was. Rows come from tables,
and from sound files by cutting them at every boundary and by making every field lie; the sound
files themselves must be taken. Under a sanitizer its reports are failures too."""
import functools
import gzip
import itertools
import json
import re
import shutil
import struct
import sys
import types

import idx
import tap
from program import ROOT, clgrad, refuses, safetensors, succeeds
from sound import CSV, FLOATS, IDX, JPEG, LABELS, MODEL, PIXELS, PNG, X, Y, chunk, entries, model, npy, png, segments

CASE = ROOT / "case"
ROWS, SOUND = [], []


def row(name, command, says, files={}, status=1):
    ROWS.append((name, command, [says] if isinstance(says, str) else says, files, status))


def lay(files):
    shutil.rmtree(CASE, ignore_errors=True)
    CASE.mkdir()
    for name, data in files.items():
        path = CASE / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir() if data is None else path.write_bytes(data)


def check(command, says, files, status):
    lay(files)
    refuses(*command, says=says, status=status, cwd=CASE)
    for name, data in files.items():
        assert data is None or (CASE / name).read_bytes() == data, name


def cuts(data, boundaries):
    """(what, data) up to each boundary and one byte less and more; never the whole."""
    for at in sorted({at + d for at in boundaries for d in (-1, 0, 1) if 0 <= at + d < len(data)}):
        yield f"cut at {at}", data[:at]


def put(data, at, piece):
    return data[:at] + piece + data[at + len(piece):]


# ---- command lines ------------------------------------------------------------------------------------------------

WRONG = {"N": ["-1", "x", "1.5", "99999999999999999999"], "X": ["-1", "x", "nan", "inf"], "SECONDS": ["0", "x"],
         "HxW": ["3", "x3", "0x4", "3x4x5"]}
COMMANDS = re.findall(r"^  ([a-z]+) ", clgrad("help").stdout, re.M)

for command in COMMANDS:
    if command == "help":
        continue
    row(f"{command}: unknown option", [command, "--frobnicate"], "'--frobnicate'", status=2)
    row(f"{command}: unknown letter", [command, "-q"], "'-q'", status=2)
    for option, value in re.findall(r"^  (?:-\w, )?--([a-z0-9-]+)(?![\w[-])(?: (\S+))?", clgrad("help", command).stdout,
                                    re.M):
        if not value:
            row(f"{command}: --{option}=1", [command, f"--{option}=1"], ["--" + option, "takes no value"], status=2)
            continue
        row(f"{command}: --{option} alone", [command, f"--{option}"], ["--" + option, "needs a value"], status=2)
        row(f"{command}: --{option} empty", [command, f"--{option}="], "--" + option, status=2)
        for wrong in WRONG.get(value, ["frobnicate"] if "|" in value else []):
            says = ["--" + option, *([wrong] if value in WRONG else [])]
            row(f"{command}: --{option} {wrong}", [command, f"--{option}", wrong], says, status=2)

OPTIONS = [
    ("train --data x.csv", "--label"), ("train --data x.csv --label a --target b", "--target"),
    ("train --label a --data x.npy", "--label"), ("train --test y.csv --data x.npy", "--test"),
    ("train --test y.csv --split 0.5 --label a --data x.csv", "--split"),
    ("train --image-size 4x4 --label a --data x.csv", "--image-size"), ("train --momentum 0.5", "--momentum"),
    ("train --patience 2", "--patience"), ("train --folds 1", "from 2 to 1000"), ("train --folds 2 --lr-find", "--lr-find"),
    ("train --out same --log same", "--log"), ("train --optimizer adam --weight-decay 1", "--weight-decay"),
    ("train --model gpt", "--data"), ("train extra", "'extra'"), ("explain m p.png", "--out"), ("eval", "MODEL"),
    ("predict", "MODEL"), ("explain m", "IMAGE"), ("summary", "NETWORK"), ("bench", "--op"), ("bench --op add", "--shape"),
    ("bench --op matmul --shape 1,2", "--shape"), ("bench --model mlp --op add", "--op"),
    ("tune --forget --json", "--forget"), ("ops --json --markdown", "--markdown"), ("frobnicate", "'frobnicate'"),
    ("--frobnicate", "--frobnicate"), ("summary relu --input 1,,2", "--input"), ("summary mlp --input 0", "--input"),
    ("summary mlp --input 99999999999", "--input"), ("summary cnn --input 3", "--input")]
OPTIONS += [(f"bench --op add --shape {s}", "--shape") for s in "0 1, ,1 -3 1,2,3,4,5,6 2147483648 1x2".split()]
OPTIONS += [(f"train --model gpt --data t {option}", option.split()[0]) for option in (
    "--log l", "--momentum 0.5", "--folds 2", "--stream", "--image-size 4x4", "--label a", "--init-from m", "--metrics",
    "--normalize", "--limit 3")]
for line, says in OPTIONS:
    row(f"options: {line}", line.split(), says, status=2)
for value in ("frobnicate", "77:0", "0:77", "-1:0"):
    row(f"devices: --device {value}", ["devices", "--device", value], value)

for changes, at, says in (
        ("flop", 0, "no such change"), ("flip,flop", 5, "no such change"), ("flip,", 5, "no such change"), (",flip", 0, "no such"),
        ("flip,flip", 5, "twice"), ("flip=1", 0, "flip"), ("shift", 0, "shift=2"), ("flip,shift=", 5, "shift=2"),
        ("shift=0", 0, "shift=2"), ("shift=-1", 0, "shift=2"), ("shift=x", 0, "shift=2"), ("shift=2x", 0, "shift=2"),
        ("shift=99999999999", 0, "32768"), ("crop", 0, "24x24"), ("crop=3", 0, "24x24"), ("crop=3x", 0, "24x24"),
        ("crop=0x3", 0, "24x24"), ("crop=3x3/", 0, "24x24"), ("crop=3x3/x", 0, "24x24"), ("flip crop=3x3", 0, "no such")):
    caret = f"\n  {changes}\n  {' ' * at}^"
    row(f"augment: {changes}", ["train", "--augment", changes], ["--augment", says, caret], status=2)

# ---- lists of layers ----------------------------------------------------------------------------------------------


def spec(text, at, says, *options):
    caret = f"\n  {text}\n  {' ' * at}^"
    row(f"spec: {text}", ["summary", text, *options], [says, caret], status=2)


def kinds():
    """Every layer's kind with its arguments: (name, the largest value as a text), as the program lists them."""
    found = {}
    for kind, argument, most in re.findall(r"^(?:  ([a-z]\w+)|      (\w+) .* to ([\d.e+]+)).*$",
                                           clgrad("layers").stdout, re.M):
        if kind:
            found[kind] = []
        else:
            found[list(found)[-1]].append((argument, most))
    return found


for kind, arguments in kinds().items():
    spec(f"relu {kind}q", 5, f"no layer '{kind}q'")
    spec(f"relu {kind}(frob=1)", 6 + len(kind), "no argument 'frob'")
    spec(f"relu {kind}(", 6 + len(kind), kind if arguments else "too many values")
    for name, most in arguments:
        for value in ("x", "nan", "-2000000", f"{most}9"):
            spec(f"relu {kind}({name}={value})", 7 + len(kind + name), f"{kind}: {name} is a")
for text, at, says in (
        ("", 0, "no layer"), ("  # nothing", 11, "no layer"), ("relu;relu", 4, "';'"), ("relu)", 4, "')'"),
        ("(3)", 0, "'('"),
        ("a:", 2, "kind"), ("a:b:relu", 2, "no layer 'b'"), ("a:relu a:tanh", 7, "called a"),
        ("linear(10", 9, "text ends"),
        ("linear(1 2)", 9, "','"), ("linear(1,,)", 9, "no value"), ("conv2d(8,3,kernel=5)", 18, "given twice"),
        ("conv2d(channels=8,3)", 18, "without a name"), ("relu(1)", 5, "too many values"), ("relu ä", 5, "'ä' where"),
        ("relu \x01", 5, "0x01")):
    if text not in ("", "  # nothing", "relu \x01"):
        spec(text, at, says)
    else:
        row(f"spec: {text!r}", ["train", "--model", text], "--model", status=2)
for text, at, says in (
        ("relu linear(10)", 5, "flatten"), ("flatten", 0, "nothing to learn"),
        ("flatten linear(10) softmax", 19, "softmax"),
        ("flatten linear(257)", 8, "257 outputs"), ("flatten linear(3) linear(10)", 18, "10 outputs"),
        ("conv2d(8,9) flatten linear(3)", 0, "conv2d"),
        ("conv2d(3,3,groups=2) flatten linear(3)", 0, "groups"), ("conv2d(3,2,pad=same) flatten linear(3)", 0, "odd"),
        ("max_pool2d(9) flatten linear(3)", 0, "max_pool2d"), ("flatten conv2d(3,3)", 8, "conv2d"),
        ("reshape(7,7) flatten linear(3)", 0, "reshape"),
        ("reshape(-1,-1) flatten linear(3)", 0, "reshape"), ("transpose(1,5) flatten linear(3)", 0, "transpose"),
        ("lstm(3) linear(3)", 0, "lstm"),
        ("avg_pool2d(3,pad=2) flatten linear(3)", 0, "avg_pool2d"),
        ("reshape(8,8) batch_norm flatten linear(3)", 13, "batch_norm")):
    spec(text, at, says, "--input", "1,8,8",
         *(["--classes", "3"] if "linear(10)" in text and "relu" not in text else []))
for name, files, says in (("missing", {}, "No such file"), ("a folder", {"s.spec": None}, "directory"),
                          ("empty", {"s.spec": b""}, "no layer"),
                          ("a zero byte", {"s.spec": b"relu \0"}, "0x00"),
                          ("too long", {"s.spec": b"relu " * 20000}, "more than"),
                          ("too many layers", {"s.spec": b"relu " * 257}, "256 layers"),
                          ("a long name", {"s.spec": b"a" * 99 + b":relu"}, "characters")):
    row(f"spec file: {name}", ["train", "--model", "@s.spec"], ["--model", says], files, 2)

# ---- CSV ----------------------------------------------------------------------------------------------------------

TRAIN_CSV = ["train", "--data", "d.csv", "--label", "y", "--model", "linear(classes)", "--batch", "2", "--epochs", "1",
             "--out", "out"]
SOUND.append((TRAIN_CSV, {"d.csv": CSV}))


def csv(name, data, *says, command=TRAIN_CSV):
    file = "d.csv.gz" if data[:2] == b"\x1f\x8b" else "d.csv"
    row(f"csv: {name}", [file if part == "d.csv" else part for part in command], [file, *says], {file: data})


for name, old, new, *says in (
        ("fewer cells", b"2,5,r\n", b"2,5\n", "line 4", "2 cells"),
        ("more cells", b"2,5,r\n", b"2,5,r,\n", "line 4", "4 cells"),
        ("a blank line", b"2,5,r\n", b"\n2,5,r\n", "line 4", "1 cell"),
        ("an open quote", b"2,5,r", b'"2,5,r', "line 4", "never closed"),
        ("text after a quote", b"2,5,r", b'"2"x,5,r', "line 4", "after a closing"),
        ("a quote inside", b"2,5,r", b'2"3",5,r', "line 4", "quote"),
        ("a zero byte", b"2,5,r", b"2,5\0,r", "line 4", "zero byte"),
        ("a lone carriage return", b"2,5,r", b"2\r,5,r", "line 4", "carriage"),
        ("columns of one name", b"a,b,y", b"b,b,y", "line 1", '"b"'),
        ("no such column", b"a,b,y", b"a,b,z", '"y"', "a, b, z"),
        ("a missing class", b"2,5,r", b"2,5,", "line 4", '"y"', "missing")):
    assert old in CSV
    csv(name, CSV.replace(old, new), *says)
for word in (b"", b" ", b"?", b"NA", b"N/A", b"nan", b"null", b"None", b"-"):
    csv(f"missing as {word.decode()!r}", CSV.replace(b"2,5,r", b"2,%s,r" % word), "line 4", '"b"', "missing")
for word in (b"x", b"1.2.3", b"0x10", b"1e", b"--1", b"+", b"inf", b"-inf", b"1 2", b"5%", b"\xc3\xa4",
             b"1" * 200, b"infinity", b"1d3"):
    csv(f"{word.decode()[:9]!r} for a number", CSV.replace(b"2,5,r", b"2,%s,r" % word), "line 4", '"b"', "not a number")
for word in (b"1e99", b"-1e300"):
    csv(f"{word.decode()} for a number", CSV.replace(b"2,5,r", b"2,%s,r" % word), "line 4", '"b"', "float32's range")
for name, data, *says in (("a class in Latin-1", CSV.replace(b"2,5,r", b"2,5,caf\xe9"), "line 4", "0xe9", "UTF-8", "iconv"),
                          ("a column in Latin-1", CSV.replace(b"a,b,y", b"caf\xe9,b,y"), "line 1", "0xe9", "UTF-8"),
                          ("empty", b"", "line 1"), ("a byte order mark", b"\xef\xbb\xbf", "line 1"),
                          ("names only", b"a,b,y\n", "line 1"),
                          ("a class alone", b"y\nr\nb\n", "line 1"), ("one row", b"a,y\n1,r\n", "1 examples"),
                          ("classes that are numbers", b"a,y\n" + b"".join(b"1,%d\n" % i for i in range(5000)), '"y"',
                           "5000"),
                          ("too many classes", b"a,y\n" + b"".join(b"1,%d\n" % i for i in range(300)), "300 classes"),
                          ("a cut end", gzip.compress(CSV)[:-9], "truncated"),
                          ("a wrong checksum", put(gzip.compress(CSV), -8, b"\0\0\0\0"), "corrupt"),
                          ("wrong bytes", put(gzip.compress(CSV), 20, b"\xff\xff\xff\xff"), "corrupt")):
    csv(name, data, *says)
csv("text for a target", CSV, "line 2", '"y"', "not a number",
    command=[("--target" if part == "--label" else part) for part in TRAIN_CSV])
row("csv: no file", TRAIN_CSV, ["d.csv", "No such file"])
row("csv: a folder", TRAIN_CSV, ["d.csv", "regular"], {"d.csv": None})
row("csv: other columns to test with", [*TRAIN_CSV, "--test", "t.csv"], ["t.csv", '"b"', "a, y"],
    {"d.csv": CSV, "t.csv": b"a,y\n1,r\n"})
row("csv: a new class to test with", [*TRAIN_CSV, "--test", "t.csv"], ["t.csv", "line 2", '"y"', '"q"'],
    {"d.csv": CSV, "t.csv": b"a,b,y\n1,1,q\n"})
row("csv: --classes", [*TRAIN_CSV, "--classes", "3"], ["d.csv", "--classes"], {"d.csv": CSV})
row("csv: --batch", [*TRAIN_CSV, "--batch", "9"], ["--batch 9", "6"], {"d.csv": CSV})

# ---- NPY ----------------------------------------------------------------------------------------------------------


TRAIN_NPY = ["train", "--data", "x.npy", "--model", "linear(3)", "--batch", "2", "--epochs", "1", "--out", "out"]
SOUND.append((TRAIN_NPY, {"x.npy": X, "y.npy": Y}))
SOUND.append((["x.npy.gz" if part == "x.npy" else part for part in TRAIN_NPY],
              {"x.npy.gz": gzip.compress(X), "y.npy.gz": gzip.compress(Y)}))


def array(name, x=X, y=Y, says=()):
    row(f"npy: {name}", TRAIN_NPY, ["x.npy" if y is Y else "y.npy", *([says] if isinstance(says, str) else says)],
        {"x.npy": x, "y.npy": y})


for what, data in cuts(X, (0, 6, 8, 10, 40, 128, len(X))):
    array(what, data)
for at in range(6):
    array(f"wrong magic {at}", put(X, at, b"\0"), says="NPY")
for version in (0, 4, 255):
    array(f"version {version}", put(X, 6, bytes([version])), says=f"version {version}")
for length in (0, 1, 117, 119, 65535):
    array(f"a header of {length}", npy(entries(), FLOATS, length=length))
for descr in (">f4", "|O", "<c8", "<U3", "<f2", "|b1", "", "f4x", "<M8", "|f4", "<f16"):
    array(f"type {descr!r}", npy(entries(f"'{descr}'"), FLOATS), says="type")
for name, header in (("records", entries("[('a', '<f4')]")), ("Fortran order", entries(order="True")),
                     ("an order of Maybe", entries(order="Maybe")),
                     ("no order", "{'descr': '<f4', 'shape': (6, 2)}"),
                     ("no type", "{'fortran_order': False, 'shape': (6, 2)}"),
                     ("no shape", "{'descr': '<f4', 'fortran_order': False}"), ("no dictionary", "[1, 2]"),
                     ("an open dictionary", entries()[:-1]),
                     ("two shapes", entries()[:-1] + "'shape': (6, 2)}"),
                     ("an unknown key", entries()[:-1] + "'a': (6, 2)}"),
                     ("more after it", entries() + "{}"), ("an open text", "{'descr"), ("nothing", "")):
    array(name, npy(header, FLOATS))
for shape in ("(-6, 2)", "(6.0, 2)", "(6, 2", "6", "((6,), 2)", "(1,1,1,1,1,12,1)", "(6, 3)", "(6, 1)", "()", "(0, 2)",
              "(4611686018427387904, 2)",
              "(9223372036854775808,)", "(99999999999999999999,)", "(4294967296, 4294967296)", "(,)", "(6 2)",
              "('6', 2)"):
    array(f"shape {shape}", npy(entries(shape=shape), FLOATS))
for value in ("nan", "inf", "-inf"):
    array(f"{value}", npy(entries(), put(FLOATS, 28, struct.pack("<f", float(value)))), says=["row 3", "element 1"])
array("a double too large", npy(entries("'<f8'", shape="(6, 1)"), struct.pack("<6d", 1, 2, 1e300, 0, 0, 0)),
      says=["row 2", "element 0"])
for name, descr, shape, data, *says in (
        ("a negative class", "<i8", "(6,)", struct.pack("<6q", 0, 1, -1, 0, 0, 0), "row 2", "-1"),
        ("a huge class", "<i8", "(6,)", struct.pack("<6q", 0, 1, 2**40, 0, 0, 0), "row 2"),
        ("other rows", "<i8", "(5,)", bytes(40), "5 rows", "6"),
        ("classes in columns", "<i8", "(6, 2)", bytes(96), "[6, 2]", "argmax"),
        ("targets of rank 3", "<f4", "(6, 1, 1)", bytes(24), "[6, 1, 1]"),
        ("no number for a target", "<f4", "(6,)", struct.pack("<6f", 0, 1, float("nan"), 0, 0, 0), "row 2"),
        ("Fortran order of answers", "<i8", "(6,)", None)):
    data = npy(entries(f"'{descr}'", "True" if data is None else "False", shape), data or bytes(48))
    array(name, y=data, says=says)
row("npy: no answers", TRAIN_NPY, "y.npy", {"x.npy": X})
row("npy: another name", ["a.npy" if part == "x.npy" else part for part in TRAIN_NPY], ["a.npy", "x"], {"a.npy": X})
row("npy: classes that the network has not", TRAIN_NPY, ["x.npy", "labels reach 5"],
    {"x.npy": X, "y.npy": npy(entries("'|u1'", shape="(6,)"), bytes(range(6)))})

# ---- IDX ----------------------------------------------------------------------------------------------------------

TRAIN_IDX = ["train", "--data", ".", "--model", "flatten linear(3)", "--batch", "4", "--epochs", "1", "--out", "out"]
SOUND.append((TRAIN_IDX, IDX))
SOUND.append((TRAIN_IDX, {f"{name}.gz": gzip.compress(data) for name, data in IDX.items()}))


for changes, says in (("shift=4", "[1, 4, 4]"), ("crop=5x4", "5x4"), ("crop=4x4/4", "4 pixels")):
    row(f"augment: {changes} of 4 x 4 pixels", [*TRAIN_IDX, "--augment", changes], ["--augment", says], IDX)
row("augment: a table", [*TRAIN_CSV, "--augment", "flip"], ["--augment", "[2]"], {"d.csv": CSV})


def index(name, file, data, *says):
    files = {**IDX, file: data} if data is not None else {k: v for k, v in IDX.items() if k != file}
    row(f"idx: {file[:12]} {name}", TRAIN_IDX, [file.removesuffix("-ubyte"), *says], files)


for number, (file, data) in enumerate(IDX.items()):
    start = 16 if "images" in file else 8
    index("missing", file, None)
    for what, cut in cuts(data, range(0, start + 1, 4)) if number < 2 else [("cut", data[:-1])]:
        index(what, file, cut)
    index("longer", file, data + b"\0", "trailing")
    if number < 2:
        for at, values in ((0, (1,)), (1, (1,)), (2, (0, 9, 11, 12, 13, 14, 255)), (3, (0, 1, 2, 3, 4, 255))):
            for value in values:
                if data[at] != value:
                    index(f"byte {at} is {value}", file, put(data, at, bytes([value])), "IDX")
        for at in range(4, start, 4):
            for value in (0, 1, 13, 0x7fffffff, 0x80000000, 0xffffffff):
                index(f"extent {value} at {at}", file, put(data, at, struct.pack(">I", value)))
    packed = gzip.compress(data, mtime=0)
    for what, cut in (("half", packed[:len(packed) // 2]), ("cut in its header", packed[:5]),
                      ("no checksum", packed[:-8]),
                      ("wrong checksum", packed[:-8] + bytes(8)),
                      ("wrong bytes", put(packed, len(packed) // 2, b"\xff\xff\xff\xff"))):
        row(f"idx: {file[:12]} compressed, {what}", TRAIN_IDX, file.removesuffix("-ubyte"),
            {**{k: v for k, v in IDX.items() if k != file}, file + ".gz": cut})
index("extents that wrap around", "train-images-idx3-ubyte", idx.header(0x10000, 0x10000, 0x10000) + PIXELS)
index("fewer", "train-labels-idx1-ubyte", idx.header(11) + LABELS[:-1], "11 labels", "12 images")
row("idx: a label out of range", TRAIN_IDX, ["training labels", "200"],
    {**IDX, "train-labels-idx1-ubyte": idx.header(12) + LABELS[:-1] + b"\xc8"})
row("idx: a test label out of range", TRAIN_IDX, ["test labels", "3"],
    {**IDX, "t10k-labels-idx1-ubyte": idx.header(12) + LABELS[:-1] + b"\3"})
row("idx: test images of another size", TRAIN_IDX, ["test images", "[1, 2, 8]", "[1, 4, 4]"],
    {**IDX, "t10k-images-idx3-ubyte": idx.header(12, 2, 8) + PIXELS})
row("idx: not a folder", [part if part != "." else "f" for part in TRAIN_IDX], ["f:", "directory"], {"f": b""})
row("idx: an empty folder", TRAIN_IDX, ["train-images-idx3-ubyte", "./cat/1.png", "Found: nothing"], {".keep": b""})
row("idx: a folder of arrays", TRAIN_IDX, ["Found: x.npy, y.npy; try --data ./x.npy"], {"x.npy": X, "y.npy": Y})
row("idx: a folder of much else", TRAIN_IDX, ["1, 2, 3, 4, 5, 6, 7, 8, ...", "--data ./t.csv"],
    {**{str(k): b"" for k in range(1, 10)}, "t.csv": CSV})
row("idx: a folder with a part of it", TRAIN_IDX, ["none of these files", "t10k-images-idx3-ubyte"],
    {name: data for name, data in IDX.items() if "train" in name})

# ---- pictures -----------------------------------------------------------------------------------------------------


PREDICT, EXPLAIN = ["predict", "m.safetensors", "p.png"], ["explain", "m.safetensors", "p.png", "-o", "out.png"]
EVAL, SUMMARY = ["eval", "m.safetensors", "--data", "."], ["summary", "m.safetensors"]
INIT = [*TRAIN_IDX[:4], "flatten fc:linear(3)", *TRAIN_IDX[5:], "--init-from", "m.safetensors"]
FOLDER = {f"{part}{name}/{i}.png": png() for part in ("",) for name in ("one", "two", "three") for i in range(4)}
TRAIN_FOLDER = ["train", "--data", "d", "--model", "flatten linear(3)", "--batch", "3", "--epochs", "1", "--out", "out"]
SOUND += [(PREDICT, {"m.safetensors": MODEL, "p.png": PNG}), (PREDICT, {"m.safetensors": MODEL, "p.png": JPEG}),
          (SUMMARY, {"m.safetensors": MODEL}),
          (EXPLAIN, {"m.safetensors": MODEL, "p.png": PNG}), (EVAL, {"m.safetensors": MODEL, **IDX}),
          (INIT, {"m.safetensors": MODEL, **IDX}),
          (TRAIN_FOLDER, {f"d/{name}": data for name, data in FOLDER.items()})]


def damaged():
    """(what, bytes) of pictures."""
    for what, data in cuts(PNG, (0, 8, 33, 41, len(PNG) - 12)):
        yield f"png {what}", data
    for at in range(8):
        yield f"png signature {at}", put(PNG, at, b"\0")
    for at, what in ((29, "IHDR"), (len(PNG) - 16, "IDAT")):
        yield f"png checksum of {what}", put(PNG, at, bytes(4))
    for what, fields in (("width 0", {"width": 0}), ("height 0", {"height": 0}), ("width 2^31", {"width": 1 << 31}),
                         ("width 65537", {"width": 65537}),
                         ("65536 x 65536", {"width": 65536, "height": 65536}), ("depth 3", {"depth": 3}),
                         ("colour 5", {"colour": 5}), ("depth of colour", {"colour": 2, "depth": 4}),
                         ("method 1", {"method": 1}), ("filter 1", {"filtering": 1}), ("interlace 7", {"interlace": 7}),
                         ("no palette", {"colour": 3}),
                         ("too few rows", {"height": 9}), ("a filter of 9", {"raw": b"\x09abcd" * 4}),
                         ("no zlib", {"packed": b"abcdefgh"})):
        yield f"png {what}", png(**fields)
    yield "png without data", PNG[:33] + chunk(b"IEND", b"")
    yield "png data first", PNG[:8] + PNG[33:]
    starts = list(segments(JPEG))
    for what, data in cuts(JPEG, (0, 2, *starts, len(JPEG) - 2)):
        yield f"jpeg {what}", data
    for at in starts[:-1]:
        for length in (0, 1, 65535):
            yield f"jpeg length {length} at {at}", put(JPEG, at + 2, struct.pack(">H", length))
    frame = next(at for at in starts if JPEG[at + 1] == 0xc0)
    for what, at, piece in (("precision 12", 4, b"\x0c"), ("height 0", 5, b"\0\0"), ("width 0", 7, b"\0\0"),
                            ("components 0", 9, b"\0"), ("components 4", 9, b"\4"),
                            ("lossless", 1, b"\xc3"), ("65535 x 65535", 5, b"\xff\xff\xff\xff"), ("table 3", 12, b"\3"),
                            ("sampling 0", 11, b"\0")):
        yield f"jpeg {what}", put(JPEG, frame + at, piece)
    for kind in (0xdb, 0xc4, 0xc0):
        at = next(at for at in starts if JPEG[at + 1] == kind)
        yield f"jpeg without {kind:x}", JPEG[:at] + JPEG[at + 2 + struct.unpack(">H", JPEG[at + 2:at + 4])[0]:]
    for what, data in (("nothing", b""), ("a text", b"hello"), ("a GIF", b"GIF89a" + bytes(20)), ("zeros", bytes(99)),
                       ("a BMP", b"BM" + bytes(60)), ("noise", bytes(range(255, 0, -1)))):
        yield what, data


for (what, data), command in zip(damaged(), itertools.cycle([PREDICT, EXPLAIN, TRAIN_FOLDER])):
    if command is TRAIN_FOLDER:
        row(f"picture: {what} (train)", command, "d/two/1.png",
            {**{f"d/{name}": one for name, one in FOLDER.items()}, "d/two/1.png": data})
    else:
        row(f"picture: {what} ({command[0]})", command, "p.png", {"m.safetensors": MODEL, "p.png": data})
row("picture: missing", PREDICT, ["p.png", "No such file"], {"m.safetensors": MODEL})
row("picture: a folder", EXPLAIN, "p.png", {"m.safetensors": MODEL, "p.png": None})

D = {f"d/{name}": data for name, data in FOLDER.items()}
for what, command, says, files in (
        ("a class without pictures", TRAIN_FOLDER, ["d/void", "no picture"], {**D, "d/void": None}),
        ("a class in Latin-1", TRAIN_FOLDER, ["d/caf\udce9", "0xe9", "UTF-8", "rename"], {**D, "d/caf\udce9/1.png": PNG}),
        ("pictures of two sizes", TRAIN_FOLDER, ["d/two/2.png", "[1, 2, 8]", "--image-size HxW"],
         {**D, "d/two/2.png": png(8, 2, raw=b"\0" + bytes(8) + b"\0" + bytes(8))}),
        ("no classes", TRAIN_FOLDER, "d", {"d": None}), ("pictures without a folder", TRAIN_FOLDER, "d",
                                                         {"d/a.png": PNG}), ("missing", TRAIN_FOLDER, "d: No such", {}),
        ("a size without end", [*TRAIN_FOLDER, "--image-size", "65536x65536"], "65536", D),
        ("a size too large", [*TRAIN_FOLDER, "--image-size", "99999x1"], "99999", D),
        ("a new class to test with", TRAIN_FOLDER, ["d/test/four", '"four"'],
         {**{f"d/{p}/{n}": x for p in ("train", "test") for n, x in FOLDER.items()}, "d/test/four/1.png": PNG}),
        ("too many classes", TRAIN_FOLDER, ["d: 257 classes", "256"], {f"d/{i}/a.png": PNG for i in range(257)}),
        ("a test of its own", [*TRAIN_FOLDER, "--test", "d/test"], "--test",
         {f"d/{p}/{n}": x for p in ("train", "test") for n, x in FOLDER.items()})):
    row(f"folder: {what}", command, says, files, 2 if what == "a test of its own" else 1)

# ---- models -------------------------------------------------------------------------------------------------------

SIZE = struct.unpack("<Q", MODEL[:8])[0]
HEADER, BODY = MODEL[8:8 + SIZE], MODEL[8 + SIZE:]
SURROUND = {"p.png": PNG, **IDX}
turns = itertools.cycle([EVAL, PREDICT, EXPLAIN, SUMMARY, INIT])


def broken(name, data, *says, command=None):
    command = command or next(turns)
    row(f"model: {name} ({command[0]})", command, ["m.safetensors", *says], {**SURROUND, "m.safetensors": data})


for what, data in cuts(MODEL, (0, 8, 9, 8 + SIZE // 2, 8 + SIZE, 8 + SIZE + 192, len(MODEL))):
    broken(what, data)
for length in (0, 1, SIZE - 1, SIZE + 1, len(MODEL) - 8, len(MODEL) - 7, 2**31, 2**63, 2**64 - 1):
    broken(f"header of {length}", struct.pack("<Q", length) + MODEL[8:])
for name, text in (("no JSON", b"\xff" * 64), ("an array", b"[1,2]"), ("a number", b"17"), ("a text", b'"x"'),
                   ("an open object", HEADER.rstrip()[:-1]), ("a zero byte", put(HEADER, 5, b"\0")),
                   ("nested", b'{"a":' * 2000 + b"1" + b"}" * 2000), ("nothing", b"{}"), ("blanks", b" " * 40),
                   ("more after it", HEADER + b"{}")):
    broken(name, safetensors(text, BODY))
broken("longer", MODEL + b"\0", "1 bytes")
for fields in ({"dtype": "I64"}, {"dtype": "F16"}, {"dtype": "Q7"}, {"dtype": 7}, {"dtype": None}, {"shape": None},
               {"shape": "x"}, {"shape": [16]}, {"shape": [-16, 3]}, {"shape": [16, 3, 1, 1, 1, 1, 1]},
               {"shape": [16.5, 3]}, {"shape": [2**40, 2**40]}, {"shape": [1e308, 3]}, {"shape": ["16", 3]},
               {"shape": [None, 3]}, {"data_offsets": None}, {"data_offsets": [0]}, {"data_offsets": [192, 0]},
               {"data_offsets": [0, 192, 204]}, {"data_offsets": [-4, 188]}, {"data_offsets": [0.5, 192]},
               {"data_offsets": [0, 2**53]}, {"data_offsets": [12, 204]}, {"data_offsets": ["0", "192"]},
               {"data_offsets": "x"}):
    broken(f"fc.weight with {fields}", model(fc_weight=fields), "fc.weight")
broken("an entry that is a number", model(fc_bias=3), "fc.bias")
broken("an entry twice",
       safetensors(HEADER.rstrip()[:-1] + b',"fc.bias":{"dtype":"F32","shape":[0],"data_offsets":[204,204]}}', BODY),
"fc.bias", "twice")
broken("metadata that are a list", model(__metadata__=[1]), "__metadata__")
broken("metadata with a number", model(meta={"a": 1}), "__metadata__")
broken("metadata twice", safetensors(HEADER.rstrip()[:-1] + b',"__metadata__":{}}', BODY), "__metadata__", "twice")
broken("a key of the metadata twice", safetensors(HEADER.replace(b'"classes"', b'"network": "cnn", "classes"'), BODY),
       "network", "twice")
for name, data, *says in (("no bias", model(fc_bias=None, body=BODY[:192]), "fc.bias"),
                          ("another shape", model(fc_weight={"shape": [3, 16]}), "fc.weight", "[3, 16]"),
                          ("an entry too many", model(extra={"dtype": "F32", "shape": [0], "data_offsets": [204, 204]}),
                           "extra"),
                          ("another network", model(meta={"network": "flatten fc:linear(4) g:linear(3)"}), "fc.weight"),
                          ("other extents", model(meta={"input": "1,4,5"}), "fc.weight")):
    for command in (PREDICT, EXPLAIN):
        broken(name, data, *says, command=command)
for key, values in {"network": (None, "", "frob", "linear(", "resnet"),
                    "classes": (None, "", "0", "-1", "x", "3x", "257", "99999999999"),
"input": (None, "", "1,,4", "0,4,4", "-1,4", "1,4,x", "1,2147483648,1", "1,1,1,1,1,1,1", ",",
          "1000000,1000000,1000000,1000000"),
                    "task": ("classification",), "window": ("0,1", "4", "5,4", "4,x", "1,4,4"), "class_names": ("[", "[1,2,3]", '["a","b"]', '{"a":1}', "a,b,c"),
                    "mean": ("x", "nan", "inf", "1,2", "1,", ",1", "1e99"),
                    "std": ("0", "-1", "nan", "x", "1,2")}.items():
    for value in values:
        command = next(turns)
        broken(f"{key} {value!r}", model(meta={key: value}), f'"{key}"',
               command=SUMMARY if command is INIT else command)
broken("huge extents", model(meta={"input": "1,1000000,1000000"}), "[1, 1000000, 1000000]", command=EXPLAIN)
row("model: huge extents (predict)", PREDICT, "MiB of device memory",
    {**SURROUND, "m.safetensors": model(meta={"input": "1,1000000,1000000"})})
broken("no network at all", model(__metadata__=None), "network", command=EVAL)
broken("a network that takes rows", model(meta={"input": "16", "network": "fc:linear(3)"}), "[16]", command=PREDICT)
row("model: missing", EVAL, ["m.safetensors", "No such file"], SURROUND)
row("model: a folder", PREDICT, "m.safetensors", {"p.png": PNG, "m.safetensors": None})
row("model: nothing to start from", INIT, ["--init-from", "m.safetensors"],
    {**SURROUND, "m.safetensors": safetensors({}, b"")})
row("model: a class that is not there", [*EXPLAIN, "--class", "7"], ["--class", "7"],
    {**SURROUND, "m.safetensors": MODEL})
row("model: no folder to draw into", [*EXPLAIN[:-1], "no/out.png"], "no/out.png", {**SURROUND, "m.safetensors": MODEL})
row("model: other images", EVAL, ["[1, 2, 8]", "[1, 4, 4]"], {**IDX,
    "t10k-images-idx3-ubyte": idx.header(12, 2, 8) + PIXELS, "m.safetensors": MODEL})
row("model: --input of a file", [*SUMMARY, "--input", "1,4,4"], ["m.safetensors", "--input"], {"m.safetensors": MODEL},
    2)

# Rows to predict for.
TABLE = {"m.safetensors": model(meta={"input": "2", "network": "fc:linear(3)"}, body=BODY[:36],
                                fc_weight={"shape": [2, 3], "data_offsets": [0, 24]},
fc_bias={"data_offsets": [24, 36]})}
SOUND.append((["predict", "m.safetensors", "r.csv", "r.npy"], {**TABLE, "r.csv": b"a,b\n1,2\n", "r.npy": X}))
for what, file, data, *says in (("more columns", "r.csv", b"a,b,c\n1,2,3\n", "[3]", "[2]"),
                                ("no number", "r.csv", b"a,b\n1,x\n", "line 2", '"b"'),
("a missing value", "r.csv", b"a,b\n1,\n", "line 2", '"b"'), ("no rows", "r.csv", b"a,b\n", "line 1"),
                                ("empty", "r.csv", b"", "line 1"),
                                ("another shape", "r.npy", npy(entries(shape="(4, 3)"), FLOATS), "[3]"),
                                ("infinite", "r.npy", npy(entries(), put(FLOATS, 0, struct.pack("<f", float("inf")))),
                                 "row 0"),
                                ("cut", "r.npy", X[:-1], "truncated"), ("no array", "r.npy", CSV, "NPY"),
                                ("no picture", "r.txt", CSV, "takes [2]")):
    row(f"predict: {what} in {file}", ["predict", "m.safetensors", file],
        [file if file != "r.txt" else "m.safetensors", *says], {**TABLE, file: data})
for option in (["--prompt", "a"], ["--length", "3"], ["--temperature", "1"]):
    row(f"predict: {option[0]}", ["predict", "m.safetensors", "r.csv", *option], option[0],
        {**TABLE, "r.csv": b"a,b\n1,2\n"}, 2)
row("predict: no input", ["predict", "m.safetensors"], "INPUT", TABLE, 2)

# ---- gpt ----------------------------------------------------------------------------------------------------------

GPT = {"network": "gpt", "classes": "3", "context": "256", "vocabulary": "616263"}
TEXT = ["train", "--model", "gpt", "--data", "t.txt", "--epochs", "1", "--out", "out"]
for name, files, says in (("missing", {}, "No such file"), ("a folder", {"t.txt": None}, "directory"),
                          ("empty", {"t.txt": b""}, "0 characters"), ("one character", {"t.txt": b"a"}, "1 characters"),
                          ("256 characters", {"t.txt": b"ab" * 128}, "256 characters")):
    row(f"gpt: a text, {name}", TEXT, ["t.txt", says], files)
row("gpt: a batch too large", [*TEXT, "--batch", "2147483647"], "--batch", {"t.txt": b"ab" * 200})
for key, values in {"context": (None, "", "0", "-1", "x", "12345678"),
                    "vocabulary": (None, "", "6", "6x", "6161", "61" * 257, "6A6B")}.items():
    for value in values:
        row(f"gpt: {key} {str(value)[:9]!r}", ["predict", "m.safetensors"], ["m.safetensors", key],
            {"m.safetensors": model(meta={**GPT, "input": None, key: value})})
for prompt, says in (("abx", "0x78"), ("\n", "0x0a"), ("ä", "0xc3")):
    row(f"gpt: prompt {prompt!r}", ["predict", "m.safetensors", "--prompt", prompt], ["--prompt", says],
        {"m.safetensors": model(meta=GPT)})
for option in (["p.png"], ["--top", "2"], ["--json"], ["--batch", "2"]):
    row(f"gpt: {option[0]}", ["predict", "m.safetensors", *option],
        ["m.safetensors", option[0] if option[0] != "p.png" else "INPUT"], {"m.safetensors": model(meta=GPT)}, 2)
row("gpt: evaluated", EVAL, ["m.safetensors", "metadata"], {**IDX, "m.safetensors": model(meta={**GPT, "input": None})})
row("gpt: a vocabulary of none", SUMMARY, ["m.safetensors", "metadata"],
    {"m.safetensors": model(meta={**GPT, "classes": "0"})})


def test_sound_files_are_taken():
    for command, files in SOUND:
        lay(files)
        succeeds(*command, cwd=CASE)


def test_there_are_many():
    names = [name for name, *_ in ROWS]
    assert len(names) >= 200 and len(set(names)) == len(names), [name for name in names if names.count(name) > 1]


cases = {"test_sound_files_are_taken": test_sound_files_are_taken, "test_there_are_many": test_there_are_many}
for name, *rest in ROWS:
    cases["test_" + name.replace("#", "comment").replace("\n", " ")] = functools.partial(check, *rest)
print(f"# {len(ROWS)} malformed inputs", flush=True)
tap.run(types.SimpleNamespace(**cases))
