"""test_report.py CLGRAD - the page of train --report: what it holds, what it refuses, and how a browser shows it."""
import base64
import json
import random
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import time
import zlib
from html.parser import HTMLParser

import tap
from program import CLGRAD, DATA, ROOT, clgrad, listing, refuses, succeeds

MLP = "flatten linear(16) relu linear(10)"
VOID = {"meta", "img", "br"}
HOSTILE = "</title><script>alert('x')</script>&amp;"


class Page(HTMLParser):
    """The elements of a page, [(tag, attributes, text within)]; fails where one is not closed."""

    def __init__(self, path):
        super().__init__()
        self.all, self.open = [], []
        self.source = path.read_text()
        self.feed(self.source)
        self.close()
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag, attributes):
        element = [tag, dict(attributes), ""]
        self.all.append(element)
        if tag not in VOID and not self.get_starttag_text().endswith("/>"):
            self.open.append(element)

    def handle_endtag(self, tag):
        assert self.open and self.open[-1][0] == tag, f"</{tag}> closes {self.open[-1:]} at {self.getpos()}"
        self.open.pop()

    def handle_startendtag(self, tag, attributes):
        self.all.append([tag, dict(attributes), ""])

    def handle_data(self, data):
        for element in self.open:
            element[2] += data

    def texts(self, tag, name=None):
        return [text for t, attributes, text in self.all if t == tag and (name is None or attributes.get("class") == name)]

    def section(self, title):
        return next((text for tag, _, text in self.all if tag == "section" and text.strip().startswith(title)), None)


def report(*arguments, name="report.html", **more):
    path = ROOT / name
    said = succeeds("train", "--out", ROOT / "model.safetensors", "--report", path, *arguments, **more)
    assert f"saved {path}" in said, said
    page = Page(path)
    for tag, attributes, _ in page.all:  # nothing is fetched, nothing is run
        assert tag not in ("script", "link", "iframe", "object", "base"), tag
        assert not [a for a in attributes if a.startswith("on") or a in ("href", "srcset")], (tag, attributes)
        assert attributes.get("src", "data:").startswith("data:"), attributes["src"]
    assert "url(" not in page.source and "://" not in page.source and "@import" not in page.source
    assert "default-src 'none'" in page.source
    return page


def table(name, columns, rows):
    path = ROOT / name
    path.write_text("\n".join(",".join(map(str, row)) for row in [columns, *rows]) + "\n")
    return path


def points(page):
    """How many points each curve has."""
    return [len(re.findall("[ML]", attributes["d"])) for tag, attributes, _ in page.all
            if tag == "path" and attributes.get("class") in ("s0", "s1") and attributes["d"].count(" ") > 1]


def test_pictures_by_class():
    log = ROOT / "log"
    page = report("--data", DATA, "--model", MLP, "--epochs", 2, "--batch", 32, "--log", log, "--metrics")
    first, second, counted = [json.loads(line) for line in log.read_text().splitlines()]
    assert points(page) == [2, 2, 2], points(page)
    assert f"{100 * second['test_accuracy']:.2f}%" in page.texts("div", "tiles")[0]
    assert f"{second['train_loss']:.4g}" in page.section("Loss") and f"{second['test_loss']:.4g}" in page.section("Loss")
    assert "mean cross-entropy, nats" in page.section("Loss") and "epoch" in page.section("Loss")

    cells = [int(text.split(": ")[1].split(" of ")[0]) for text in page.texts("title")[1:] if " of " in text]
    assert sorted(cells) == sorted(int(n) for row in counted["confusion"] for n in row if n) and sum(cells) == 101
    scores = page.section("Scores of the classes")
    for one in counted["classes"]:
        assert all(f"{one[key]:.4f}" in scores for key in ("precision", "recall", "f1")), (one, scores)
    wrong = 101 - round(101 * second["test_accuracy"])
    pictures = [attributes for tag, attributes, _ in page.all if tag == "img"]
    assert f"Of {wrong} that are wrong, the {len(pictures)} " in page.section("Worst mistakes")
    assert len(pictures) == min(wrong, 24) > 0
    own = [float(text.split()[1].split("%")[0]) for text in page.texts("figcaption")]
    assert own == sorted(own), own
    for one in pictures:
        png = base64.b64decode(one["src"].partition("base64,")[2], validate=True)
        assert png[:8] == b"\x89PNG\r\n\x1a\n" and struct.unpack(">II", png[16:24]) == (12, 12)
    for word in ("model", "seed", "epochs", "batch", "adam", "0.001", str(DATA)):
        assert word in page.section("Settings"), word
    layers = page.section("Network")
    for word in ("flatten1", "144", "2,320", "2,490"):
        assert word in layers, (word, layers)
    device = json.loads(succeeds("devices", "--json"))["devices"][0]["name"]
    assert device in page.section("Device and run") and "300 images" in page.section("Data")


def test_class_names_are_text():
    rng = random.Random(1)
    rows = [(rng.gauss(k, 1), (HOSTILE, "b\x7f<b>")[k]) for k in (0, 1) for _ in range(60)]
    data = table("<i>\udce9.csv", ["a", HOSTILE.replace("'", "")], rows)  # not UTF-8, as a file's name may be
    page = report("--data", data, "--label", HOSTILE.replace("'", ""), "--epochs", 2, "--batch", 16, "--model", "linear(2)")
    assert f"{HOSTILE} taken for b\ufffd<b>" in " ".join(page.texts("title")), page.texts("title")
    assert HOSTILE in page.section("Scores of the classes") and "<i>\ufffd.csv" in page.texts("h1")[0]
    assert not page.section("Worst mistakes") and "2 classes" not in page.source
    data.unlink()


def test_a_hundred_classes():
    rng = random.Random(2)
    rows = [(k % 10 + rng.gauss(0, .4), k // 10 + rng.gauss(0, .4), f"class {k:02}") for k in range(100) for _ in range(4)]
    page = report("--data", table("hundred.csv", ["a", "b", "k"], rows), "--label", "k", "--epochs", 3, "--batch", 64,
                  "--model", "linear(100)", "--split", 0.5)
    cells = [int(text.split(": ")[1].split(" of ")[0]) for text in page.texts("title")[1:] if " of " in text]
    assert sum(cells) == 200, cells
    assert page.section("Scores of the classes").count("class ") == 100
    assert "top-5" in page.texts("div", "tiles")[0]
    rects = [attributes for tag, attributes, _ in page.all if tag == "rect"]
    assert len(rects) == len(cells) and all(float(r["x"]) + float(r["width"]) <= 560.01 for r in rects)


def numbers():
    rng = random.Random(3)
    return table("numbers.csv", ["a", "y"], [(x, 3 * x + rng.gauss(0, .1)) for x in (rng.uniform(-1, 1) for _ in range(200))])


def test_regression_that_stops_early():
    page = report("--data", numbers(), "--target", "y", "--epochs", 60, "--batch", 16, "--model", "linear(1)", "--lr", 0.1,
                  "--validation", 0.25, "--patience", 2)
    epochs = int(re.search(r"(\d+) of 60epochs, stopped early", page.texts("div", "tiles")[0])[1])
    assert points(page) == [epochs] * 3, points(page)
    assert f"best, epoch {epochs - 2}" in page.section("Loss") and "validation" in page.section("Loss")
    assert "test R²" in page.texts("div", "tiles")[0] and "mean squared error" in page.section("Loss")
    assert not page.section("Confusion") and not page.section("Scores")
    assert len([1 for tag, attributes, _ in page.all if attributes.get("class") == "cloud"]) == 40
    assert "120 examples" in page.section("Data") and "40, test" in page.section("Data"), page.section("Data")


def test_many_epochs_are_thinned():
    page = report("--data", numbers(), "--target", "y", "--epochs", 1500, "--batch", 160, "--model", "linear(1)")
    assert points(page) == [500] * 3 and len(page.source) < 100000


def test_interrupted():
    child = subprocess.Popen([CLGRAD, "train", "--data", DATA, "--model", MLP, "--batch", "32", "--epochs", "1000000",
                              "--out", ROOT / "m", "--report", ROOT / "r.html"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not child.stdout.readline().startswith("epoch 3/"):
        time.sleep(0.01)
    child.send_signal(signal.SIGINT)
    said, errors = child.communicate(timeout=120)
    assert child.returncode == 130 and not errors and said.endswith(f"saved {ROOT / 'm'}\nsaved {ROOT / 'r.html'}\n"), (said[-500:], errors)
    page = Page(ROOT / "r.html")
    assert re.search(r"\d+ of 1000000epochs, then interrupted", page.texts("div", "tiles")[0])
    assert page.section("Loss") and not page.section("Confusion") and not page.section("Worst")


def test_refusals():
    out = ["--data", DATA, "--model", MLP, "--epochs", 1, "--out", ROOT / "model"]
    refuses("train", *out, "--report", ROOT / "no/such.html", says=["--report", "no/such.html"])
    refuses("train", *out, "--report", ROOT, says=["--report", "regular file"])
    refuses("train", *out, "--report", "/dev/full", says=["--report", "regular file"])
    (ROOT / "link").symlink_to("linked")
    (ROOT / "linked").write_text("kept")
    for more in (["--report", ROOT / "data/../model"], ["--log", "linked", "--report", "link"], ["--trace", "t", "--report", "./t"]):
        refuses("train", *out, *more, status=2, says=["--report", "same file"])
    assert (ROOT / "linked").read_text() == "kept"
    for more in (["--folds", 2], ["--lr-find"]):
        refuses("train", "--data", DATA, *more, "--report", "r", status=2, says="--report")
    refuses("train", "--model", "gpt", "--data", ROOT / "linked", "--report", "r", status=2, says="takes no options but")


def test_a_failure_leaves_the_old_page():
    path, arguments = ROOT / "old.html", ["train", "--data", DATA, "--model", MLP, "--epochs", 1, "--out", ROOT / "model.safetensors"]
    succeeds(*arguments, "--report", path)  # its kernels are in the cache now
    path.write_text("old")
    before = listing()
    done = clgrad(*arguments, "--lr", "1e30", "--optimizer", "sgd", "--report", path)
    assert done.returncode == 3 and "--lr" in done.stderr, done
    done = clgrad(*arguments, "--report", path, restore_signals=False,  # SIGXFSZ stays ignored
                  preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (16384, 16384)))
    assert done.returncode == 1 and "--report" in done.stderr and "too large" in done.stderr, done
    assert path.read_text() == "old" and listing() == before


# ---- in a browser -----------------------------------------------------------------------------------------------


def browser():
    for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"):
        if shutil.which(name):
            return name
    raise tap.Skip("no Chromium")


def browse(path, *arguments):
    done = subprocess.run([browser(), "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={ROOT / 'browser'}",
                           *arguments, path.as_uri()], capture_output=True, text=True, timeout=120, cwd=ROOT)
    assert done.returncode == 0, done
    return done.stdout


def pixels(path):
    """{(red, green, blue): how many} of a PNG of 8 bits without interlacing."""
    data, at, packed = path.read_bytes(), 8, b""
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at:at + 8])
        if kind == b"IHDR":
            width, height, depth, colour, _, _, interlace = struct.unpack(">IIBBBBB", data[at + 8:at + 21])
        if kind == b"IDAT":
            packed += data[at + 8:at + 8 + size]
        at += 12 + size
    assert depth == 8 and colour in (2, 6) and not interlace
    n = 3 if colour == 2 else 4
    raw, row, found = zlib.decompress(packed), bytearray(width * n), {}
    for y in range(height):
        above, row = row, bytearray(raw[y * (width * n + 1) + 1:(y + 1) * (width * n + 1)])
        kind = raw[y * (width * n + 1)]
        for i in range(width * n if kind else 0):
            a, b, c = row[i - n] if i >= n else 0, above[i], above[i - n] if i >= n else 0
            row[i] = (row[i] + (a, b, (a + b) // 2, min((a, b, c), key=lambda v: abs(a + b - c - v)))[kind - 1]) & 255
        for i in range(0, width * n, n):
            key = bytes(row[i:i + 3])
            found[key] = found.get(key, 0) + 1
    return width, height, {tuple(key): count for key, count in found.items()}


def test_in_chromium():
    browser()
    page = ROOT / "browser.html"
    report("--data", DATA, "--model", MLP, "--epochs", 2, "--batch", 32, name=page.name)
    dom = browse(page, "--dump-dom")
    for text in ("Training report", "Worst mistakes", "data:image/png;base64,", "mean cross-entropy, nats", "precision", "2,490"):
        assert text in dom, text
    picture = ROOT / "page.png"
    for theme, ground, card in ((1, (0xf6, 0xf5, 0xf2), (255, 255, 255)), (0, (0x15, 0x17, 0x1a), (0x1d, 0x20, 0x24))):
        browse(page, f"--screenshot={picture}", "--window-size=500,1000", f"--blink-settings=preferredColorScheme={theme}")
        width, height, colours = pixels(picture)
        size = width * height
        assert (width, height) == (500, 1000) and len(colours) > 100, (width, height, len(colours))
        assert colours.get(ground, 0) > 0.02 * size and colours.get(card, 0) > 0.4 * size, sorted(colours.items(), key=lambda c: -c[1])[:5]
        assert sum(count for colour, count in colours.items() if sum(abs(a - b) for a, b in zip(colour, card)) > 200) > 0.02 * size


tap.run(sys.modules[__name__])
