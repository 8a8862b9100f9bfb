"""sound.py - small sound files of every kind that the program reads, and the means to make them otherwise."""
import base64
import struct
import zlib

import idx
from program import safetensors

CSV = b"a,b,y\n" + b"".join(b"%d,%d,%s\n" % (i, 7 - i, b"rb"[i % 2:i % 2 + 1]) for i in range(8))


def npy(header, data, version=1, length=None, magic=b"\x93NUMPY"):
    text = header.encode()
    prefix = 10 if version == 1 else 12
    text += b" " * (-(prefix + len(text) + 1) % 64) + b"\n"
    size = struct.pack("<H" if version == 1 else "<I", len(text) if length is None else length)
    return magic + bytes([version, 0]) + size + text + data


def entries(descr="'<f4'", order="False", shape="(6, 2)"):
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}"


FLOATS = struct.pack("<12f", *range(12))
X, Y = npy(entries(), FLOATS), npy(entries("'<i8'", shape="(6,)"), struct.pack("<6q", 0, 1, 2, 0, 1, 2))

HEIGHT, WIDTH, PIXELS, LABELS = idx.images(12, 4, 4, classes=3)
IDX = {f"{part}-{kind}-ubyte": data for part in ("train", "t10k") for kind, data in
       (("images-idx3", idx.header(12, 4, 4) + PIXELS), ("labels-idx1", idx.header(12) + LABELS))}


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width=4, height=4, depth=8, colour=0, method=0, filtering=0, interlace=0, raw=None, packed=None):
    head = struct.pack(">IIBBBBB", width, height, depth, colour, method, filtering, interlace)
    raw = b"".join(b"\0" + bytes(range(16 * y, 16 * y + 4)) for y in range(4)) if raw is None else raw
    data = chunk(b"IDAT", packed or zlib.compress(raw))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + data + chunk(b"IEND", b"")


PNG = png()
JPEG = base64.b64decode(  # 16 x 16, grey
    "/9j/2wBDABsSFBcUERsXFhceHBsgKEIrKCUlKFE6PTBCYFVlZF9VXVtqeJmBanGQc1tdhbWGkJ6jq62rZ4C8ybqmx5moq6T/"
    "wAALCAAQABABAREA/8QAFgABAQEAAAAAAAAAAAAAAAAABAAD/8QAHxABAAIBBQEBAQAAAAAAAAAAAQIRAwQSIUFRACIx/9oA"
    "CAEBAAA/AA6PSYTT45zxxnKcV/TxE9e3n+HfPyYabGs008ItcDCO2KVdlL3zS1359aWC4sA5AYxihxFjHaU3XrIvrdfn2mHE"
    "jMMhLcCCFJ69VTSntF2B/9k=")


def segments(data):
    """Where the segments of a JPEG begin, and where its scan does."""
    at = 2
    while data[at + 1] != 0xda:
        yield at
        at += 2 + struct.unpack(">H", data[at + 2:at + 4])[0]
    yield at
    yield at + 2 + struct.unpack(">H", data[at + 2:at + 4])[0]


def model(meta={}, body=None, **changed):
    """An entry that is a dictionary changes fields of the sound one; None, for a field or an entry, leaves it out."""
    sound = {"__metadata__": {"network": "flatten fc:linear(3)", "classes": "3", "input": "1,4,4", **meta},
             "fc.weight": {"dtype": "F32", "shape": [16, 3], "data_offsets": [0, 192]},
             "fc.bias": {"dtype": "F32", "shape": [3], "data_offsets": [192, 204]}}
    for name, entry in changed.items():
        name = name.replace("fc_", "fc.")
        sound[name] = {**sound.get(name, {}), **entry} if isinstance(entry, dict) else entry
    made = {name: {k: v for k, v in entry.items() if v is not None} if isinstance(entry, dict) else entry
            for name, entry in sound.items() if entry is not None}
    return safetensors(made, struct.pack("<51f", *range(51)) if body is None else body)


MODEL = model()
