"""idx.py - IDX files for the tests: images of ten classes that a small network can tell apart."""
import gzip
import random
import struct


def images(count, height, width, seed=1, classes=10):
    """(height, width, pixels, labels): class k is a bright band at the k-th tenth of the image, in noise."""
    rng = random.Random(seed)
    labels = bytes(rng.randrange(classes) for _ in range(count))
    size = height * width
    bands = [bytes(160 if k * size // classes <= i < (k + 1) * size // classes else 0 for i in range(size))
             for k in range(classes)]
    noise = rng.randbytes(size + count)
    pixels = bytearray()
    for i, label in enumerate(labels):
        pixels += bytes(band + (n >> 2) for band, n in zip(bands[label], noise[i:i + size]))
    return height, width, bytes(pixels), labels


def header(*extents):
    return struct.pack(">BBBB", 0, 0, 8, len(extents)) + struct.pack(f">{len(extents)}I", *extents)


def write(path, data, compress=False):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data, 1) if compress else data)


def write_pair(directory, part, content, compress=False):
    height, width, pixels, labels = content
    end = ".gz" if compress else ""
    write(directory / f"{part}-images-idx3-ubyte{end}", header(len(labels), height, width) + pixels, compress)
    write(directory / f"{part}-labels-idx1-ubyte{end}", header(len(labels)) + labels, compress)
