"""test_examples.py [--brief] PROGRAM... - the programs of tools/examples reach what they are written to show; --brief: they
run, on a handful of images, as tools/lanes wants it for what they make the driver build."""
import gzip
import re
import struct
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

import idx
import tap

BRIEF = sys.argv[1] == "--brief"
PROGRAMS = {Path(path).name: Path(path).resolve() for path in sys.argv[1 + BRIEF:]}
TEMP = tempfile.TemporaryDirectory()
NUMBER = r"(-?[\d.]+)"


def run(name, *arguments):
    if name not in PROGRAMS:
        raise tap.Skip(f"{name} is not built here")
    done = subprocess.run([PROGRAMS[name], *map(str, arguments)], cwd=TEMP.name, capture_output=True, text=True,
                          timeout=None if BRIEF else 300)
    assert done.returncode == 0, f"{name} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done.stdout


def some_clothes():
    """The first 4000 and 1000 of Fashion-MNIST's images."""
    source, made = Path("/usr/share/datasets/fashion-mnist"), Path(TEMP.name) / "clothes"
    if not source.is_dir():
        raise tap.Skip("no Fashion-MNIST: apt install dataset-fashion-mnist")
    for part, count in ("train", 4000), ("t10k", 1000):
        for kind, extents in ("images-idx3", (28, 28)), ("labels-idx1", ()):
            name = f"{part}-{kind}-ubyte"
            data = gzip.decompress((source / f"{name}.gz").read_bytes())[8 + 4 * len(extents):]
            idx.write(made / name, idx.header(count, *extents) + data[:count * (784 if extents else 1)])
    return made


def png(name):
    """(width, height, rows of bytes) of a grey PNG; every checksum is looked at."""
    data, at, chunks = (Path(TEMP.name) / name).read_bytes(), 8, {}
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + size]
        assert struct.unpack(">I", data[at + 8 + size:at + 12 + size])[0] == zlib.crc32(kind + body)
        chunks[kind] = chunks.get(kind, b"") + body
        at += 12 + size
    width, height, depth, colour = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    assert (depth, colour) == (8, 0) and b"IEND" in chunks
    lines = zlib.decompress(chunks[b"IDAT"])
    assert len(lines) == height * (width + 1)
    return width, height, lines


def sheet(name, columns, clothes):
    """The losses of three short epochs, after which the sheet is a picture with something on it."""
    said = run(name, 3, clothes)
    losses = [tuple(map(float, row)) for row in re.findall(r"epoch \d+ " + rf" .*? {NUMBER}" * columns, said)]
    assert len(losses) == 3 and len(set(losses)) == 3, said
    width, height, lines = png(f"{name}.png")
    assert (width, height) == (289, 289) and len(set(lines)) > 50, (width, height)
    return losses


def accuracies(said):
    return [float(value) for value in re.findall(r"accuracy ([\d.]+)%", said)]


def test_linear_regression_finds_slope_and_intercept():
    """Within four standard errors of the fit, which the program derives from the noise: missed once in 16,000 draws."""
    said = run("linear_regression")
    slope, slope_error, intercept, intercept_error = map(float, re.match(
        rf"slope {NUMBER} \+- {NUMBER}  intercept {NUMBER} \+- {NUMBER} ", said).groups())
    assert 0.0 < slope_error < 0.02 and abs(slope - 3.0) <= 4.0 * slope_error, said
    assert 0.0 < intercept_error < 0.02 and abs(intercept) <= 4.0 * intercept_error, said


def xor(name, at_least):
    said = run(name)
    rows = re.findall(rf"loss {NUMBER}  0\^0 {NUMBER}  0\^1 {NUMBER}  1\^0 {NUMBER}  1\^1 {NUMBER}  (\w+)", said)
    solved = [row for row in rows if row[-1] == "solved"]
    assert len(rows) == 10 and f"{len(solved)} of 10 seeds solved" in said, said
    assert len(solved) >= at_least, said
    for _, *p, _ in solved:
        assert [float(value) > 0.5 for value in p] == [False, True, True, False], said


def test_xor_by_relu_is_solved_from_some_seed():
    xor("xor_relu", 1)


def test_xor_by_sigmoids_is_solved_from_most_seeds():
    xor("xor_sigmoid", 5)


def test_gan_moves_and_draws():
    """After 120 steps neither model has won: a logit is off by less than 5 on average."""
    for dis, gen in sheet("gan", 2, some_clothes()):
        assert 0.01 < dis < 5.0 and 0.01 < gen < 5.0


def test_vae_learns_and_draws():
    """The loss falls well below that of grey pictures, 784 log 2 = 543, and points keep some information."""
    losses = sheet("vae", 2, some_clothes())
    assert losses[-1][0] < 350.0 and losses[-1][0] < losses[0][0] and losses[-1][1] > 1.0, losses


def test_lstm_reads_rows():
    """Four passes over 4000 images; a guess is right for one in ten."""
    found = accuracies(run("lstm_rows", 4, some_clothes()))
    assert len(found) == 4 and found[-1] >= 60.0, found


def test_features_transfer_to_other_classes():
    """A guess is right for one in five; learning all must not lose what the head had learnt."""
    random, old, frozen, everything = accuracies(run("transfer", some_clothes()))
    assert min(random, frozen) >= 75.0 and old >= 50.0, (random, old, frozen)
    assert everything >= max(75.0, frozen - 3.0), (frozen, everything)


def run_briefly():
    data = Path(TEMP.name) / "bands"
    for part in "train", "t10k":
        idx.write_pair(data, part, idx.images(100, 28, 28))
    arguments = {"gan": [1, data], "vae": [1, data], "lstm_rows": [1, data], "transfer": [data], "image_cnn": [data]}
    for name in PROGRAMS:
        run(name, *arguments.get(name, []))


run_briefly() if BRIEF else tap.run(sys.modules[__name__])
