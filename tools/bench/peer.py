"""peer.py THREADS - the program's networks and operators in PyTorch: answers one request a line, as JSON on both sides.

{"do": "time", "model", "batch", "seconds"}    median seconds of a whole training step
{"do": "curve", "model", "batch", "weights", "dtype", "steps"}    losses of the first steps from the weights in a file
{"do": "memory", "model", "batch"}    bytes by which two training steps raise the resident peak
{"do": "op", ...}    median seconds of an operator: see peer_ops.py

Inputs are clgrad bench's (tools/clgrad/bench_feed.c has the formula), float tensors in memory that a step takes as they
lie; clgrad, in the time that is compared, also gathers its batch from bytes."""
import ctypes
import json
import signal
import struct
import sys
import time
from statistics import median

import numpy
import torch
from torch import nn
from torch.nn import functional as F

import peer_ops

BATCHES = 20


# ---- networks: parameters are named as the program's, so that its files can be read ----------------------------------


class Net(nn.Module):
    def __init__(self, **parts):
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)


class Cnn(Net):
    def __init__(self):
        super().__init__(conv1=nn.Conv2d(1, 32, 3), fc1=nn.Linear(32 * 13 * 13, 128), fc2=nn.Linear(128, 10))

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2).flatten(1)
        return self.fc2(F.relu(self.fc1(x)))


class Mlp(Net):
    def __init__(self):
        super().__init__(fc1=nn.Linear(784, 512), fc2=nn.Linear(512, 512), fc3=nn.Linear(512, 10))

    def forward(self, x):
        return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x.flatten(1))))))


class BasicBlock(Net):
    def __init__(self, before, after, stride):
        super().__init__(conv1=nn.Conv2d(before, after, 3, stride, 1, bias=False), bn1=nn.BatchNorm2d(after),
                         conv2=nn.Conv2d(after, after, 3, 1, 1, bias=False), bn2=nn.BatchNorm2d(after))
        self.downsample = None
        if stride != 1 or before != after:
            self.downsample = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + (self.downsample(x) if self.downsample else x))


class ResNet18(Net):
    def __init__(self):
        super().__init__(conv1=nn.Conv2d(3, 64, 7, 2, 3, bias=False), bn1=nn.BatchNorm2d(64), fc=nn.Linear(512, 1000))
        widths = [64, 64, 128, 256, 512]
        for i in range(1, 5):
            setattr(self, f"layer{i}", nn.Sequential(BasicBlock(widths[i - 1], widths[i], 1 if i == 1 else 2),
                                                     BasicBlock(widths[i], widths[i], 1)))

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(x.mean((2, 3)))


class GptBlock(Net):
    def __init__(self, width, heads):
        super().__init__(ln_1=nn.LayerNorm(width), ln_2=nn.LayerNorm(width),
                         attn=Net(c_attn=nn.Linear(width, 3 * width), c_proj=nn.Linear(width, width)),
                         mlp=Net(c_fc=nn.Linear(width, 4 * width), c_proj=nn.Linear(4 * width, width)))
        self.heads = heads

    def forward(self, x, mask):
        batch, length, width = x.shape
        q, k, v = (t.view(batch, length, self.heads, -1).transpose(1, 2)
                   for t in self.attn.c_attn(self.ln_1(x)).split(width, 2))
        scores = (q @ k.transpose(-2, -1)) * (width // self.heads) ** -0.5
        y = F.softmax(scores.masked_fill(mask[:length, :length], float("-inf")), -1) @ v
        x = x + self.attn.c_proj(y.transpose(1, 2).reshape(batch, length, width))
        return x + self.mlp.c_proj(F.gelu(self.mlp.c_fc(self.ln_2(x)), approximate="tanh"))


class Gpt(Net):
    def __init__(self, vocabulary=65, context=256, layers=6, heads=6, width=384):
        super().__init__(wte=nn.Embedding(vocabulary, width), wpe=nn.Embedding(context, width),
                         h=nn.ModuleList(GptBlock(width, heads) for _ in range(layers)), ln_f=nn.LayerNorm(width),
                         lm_head=nn.Linear(width, vocabulary))
        self.register_buffer("mask", torch.ones(context, context, dtype=torch.bool).triu(1), persistent=False)

    def forward(self, x):
        x = self.wte(x) + self.wpe.weight[:x.shape[1]]
        for block in self.h:
            x = block(x, self.mask)
        return self.lm_head(self.ln_f(x)).flatten(0, 1)


def adam(parameters):
    return torch.optim.Adam(parameters, lr=1e-3)


NETWORKS = {  # class, optimiser, shape of an example, classes
    "cnn": (Cnn, adam, (1, 28, 28), 10),
    "mlp": (Mlp, adam, (1, 28, 28), 10),
    "resnet18": (ResNet18, lambda p: torch.optim.SGD(p, lr=0.1 * 8 / 256, momentum=0.9), (3, 224, 224), 1000),
    "gpt": (Gpt, lambda p: torch.optim.AdamW(p, lr=3e-4, weight_decay=0.01), (256,), 65),
}


def load_weights(net, path):
    """Reads a safetensors file of the program, whose linear weights are [in, out]."""
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        body = file.read()
    header.pop("__metadata__", None)
    state = dict(net.named_parameters()) | dict(net.named_buffers())
    linear = {name for name, part in net.named_modules() if isinstance(part, nn.Linear)}
    untouched = set(dict(net.named_parameters())) - set(header)
    if untouched:
        raise ValueError(f"{path} has no {sorted(untouched)}, but {sorted(set(header) - set(state))}")
    for name, entry in header.items():
        value = numpy.frombuffer(body[slice(*entry["data_offsets"])], numpy.float32).reshape(entry["shape"])
        where, _, kind = name.rpartition(".")
        value = value.T if kind == "weight" and where in linear else value
        with torch.no_grad():
            state[name].copy_(torch.from_numpy(value.copy()).reshape(state[name].shape))


# ---- inputs ------------------------------------------------------------------------------------------------------------


def scramble(x):
    x = numpy.atleast_1d(x).astype(numpy.uint32) * numpy.uint32(0x9E3779B1)
    x ^= x >> numpy.uint32(16)
    x *= numpy.uint32(0x85EBCA6B)
    return x ^ x >> numpy.uint32(13)


def images(shape, classes, count):
    pixels = int(numpy.prod(shape))
    labels = scramble(numpy.arange(count) ^ 0x40000000) % min(classes, 256)
    out = numpy.empty((count, pixels), numpy.float32)
    for n in range(count):
        own = scramble(n * pixels + numpy.arange(pixels)) >> 25
        pattern = scramble((int(labels[n]) * pixels + numpy.arange(pixels)) ^ 0x20000000) >> 25
        out[n] = (own + pattern).astype(numpy.float32) * numpy.float32(1 / 255)
    return torch.from_numpy(out.reshape(count, *shape)), torch.from_numpy(labels.astype(numpy.int64))


def tokens(context, vocabulary, rows):
    mixed = scramble(numpy.arange(rows * context + 1)).tolist()
    stream = [0]
    for h in mixed[1:]:
        stream.append((7 * stream[-1] + 3) % vocabulary if h % 4 else (h >> 8) % vocabulary)
    stream = torch.tensor(stream)
    return stream[:-1].view(rows, context), stream[1:].view(rows, context)


class Training:
    def __init__(self, model, batch, dtype="float32", batches=BATCHES, weights=None):
        network, optimizer, shape, classes = NETWORKS[model]
        torch.manual_seed(1)
        self.net = network()
        if weights:
            load_weights(self.net, weights)
        self.net = self.net.to(getattr(torch, dtype))
        if len(shape) == 1:
            x, y = tokens(shape[0], classes, batches * batch)
        else:
            x, y = images(shape, classes, batches * batch)
            x = x.to(getattr(torch, dtype))
        self.data = [(x[i:i + batch], y[i:i + batch].flatten()) for i in range(0, len(x), batch)]
        self.optimizer = optimizer(self.net.parameters())
        self.next = 0

    def step(self):
        x, y = self.data[self.next % len(self.data)]
        self.next += 1
        self.optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(self.net(x), y)
        loss.backward()
        self.optimizer.step()
        return loss.detach()


# ---- requests ----------------------------------------------------------------------------------------------------------

kept = {}


def do_time(model, batch, seconds):
    if (model, batch) not in kept:
        kept[model, batch] = Training(model, batch)
    training = kept[model, batch]
    times = []
    for _ in range(2):
        training.step()
    begin = time.perf_counter()
    while len(times) < 3 or time.perf_counter() - begin < seconds:
        start = time.perf_counter()
        training.step()
        times.append(time.perf_counter() - start)
    return {"seconds": median(times), "steps": len(times)}


def do_curve(model, batch, weights, dtype, steps):
    training = Training(model, batch, dtype, weights=weights)
    return {"losses": [training.step().item() for _ in range(steps)]}


def resident(field):
    with open("/proc/self/status") as status:
        return next(1024 * int(line.split()[1]) for line in status if line.startswith(field))


def do_memory(model, batch):
    training = Training(model, batch, batches=2)
    parameters = sum(4 * p.numel() for p in training.net.parameters())
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak starts anew
    before = resident("VmRSS")
    training.step()
    training.step()
    return {"growth": resident("VmHWM") - before, "parameters": parameters}


def blas():
    """What multiplies matrices in this process: without OpenBLAS or MKL, Debian's PyTorch falls back to the reference."""
    with open("/proc/self/maps") as maps:
        loaded = maps.read()
    return next((name for name in ("openblas", "mkl", "blis") if name in loaded), "reference BLAS")


def do_version():
    return {"version": f"{torch.__version__} with {blas()}", "models": list(NETWORKS)}


REQUESTS = {"time": do_time, "curve": do_curve, "memory": do_memory, "version": do_version, "op": peer_ops.do_op}


def main():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: versus stops us between turns, so nobody else could end us
    torch.set_num_threads(int(sys.argv[1]))
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(REQUESTS[request.pop("do")](**request)), flush=True)


main()
