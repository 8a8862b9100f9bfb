"""peer.py MODEL IMAGES EPOCHS BATCH THREADS - the program's networks in PyTorch; prints the last epoch's images/s.

The data are float tensors in memory; a step gathers its rows, as clgrad's does. The loss is summed in a tensor and read
once an epoch."""
import gzip
import json
import sys
import time

import numpy
import torch
from torch import nn

DATA = "/usr/share/datasets/fashion-mnist/train"
NETWORKS = {
    "cnn": lambda: nn.Sequential(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                                 nn.Linear(32 * 13 * 13, 128), nn.ReLU(), nn.Linear(128, 10)),
    "mlp": lambda: nn.Sequential(nn.Flatten(), nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(),
                                 nn.Linear(512, 10)),
}


def load(kind, offset):
    with gzip.open(f"{DATA}-{kind}-ubyte.gz") as file:
        return numpy.frombuffer(file.read(), numpy.uint8, offset=offset)


def blas():
    """What multiplies matrices in this process: without OpenBLAS or MKL, Debian's PyTorch falls back to the reference."""
    with open("/proc/self/maps") as maps:
        loaded = maps.read()
    return next((name for name in ("openblas", "mkl", "blis") if name in loaded), "reference BLAS")


def epoch(net, optimizer, images, labels, batch):
    total = torch.zeros(())
    start = time.perf_counter()
    for rows in torch.randperm(len(labels)).split(batch):
        optimizer.zero_grad(set_to_none=True)
        loss = nn.functional.cross_entropy(net(images[rows]), labels[rows])
        loss.backward()
        optimizer.step()
        total += loss.detach() * len(rows)
    total.item()
    return len(labels) / (time.perf_counter() - start)


def main(model, *numbers):
    count, epochs, batch, threads = map(int, numbers)
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    images = torch.from_numpy(load("images-idx3", 16).reshape(-1, 1, 28, 28)[:count].astype(numpy.float32) / 255)
    labels = torch.from_numpy(load("labels-idx1", 8)[:count].astype(numpy.int64))
    net = NETWORKS[model]()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    for _ in range(epochs):
        speed = epoch(net, optimizer, images, labels, batch)
    print(json.dumps({"images_per_second": speed, "version": f"{torch.__version__} with {blas()}"}))


main(*sys.argv[1:])
