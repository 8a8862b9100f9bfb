"""peer_ops.py - single operators in PyTorch, named and shaped as clgrad bench --op has them."""
import time
from statistics import median

import torch
from torch.nn import functional as F


def matmul(m, n, k, trans="NN"):
    a = torch.rand((k, m) if trans[0] == "T" else (m, k))
    b = torch.rand((n, k) if trans[1] == "T" else (k, n))
    a, b, out = a.t() if trans[0] == "T" else a, b.t() if trans[1] == "T" else b, torch.empty(m, n)
    return lambda: torch.mm(a, b, out=out)


def conv2d(n, c, h, k, kernel=3, stride=1, pad=0, groups=1, part=None):
    x, w = torch.rand(n, c, h, h), torch.rand(k, c // groups, kernel, kernel)
    options = ([0], [stride] * 2, [pad] * 2, [1, 1], False, [0, 0], groups)
    if part is None:
        return lambda: F.conv2d(x, w, None, stride, pad, 1, groups)
    dy = torch.rand_like(F.conv2d(x, w, None, stride, pad, 1, groups))
    mask = [part == "data", part == "filter", False]
    return lambda: torch.ops.aten.convolution_backward(dy, x, w, *options, mask)


def adam(n):
    p = torch.rand(n, requires_grad=True)
    p.grad = torch.rand(n)
    return torch.optim.Adam([p], lr=1e-3).step


def attention(batch, length, heads, width):
    q, k, v = (torch.rand(batch, heads, length, width) for _ in range(3))
    mask = torch.ones(length, length, dtype=torch.bool).triu(1)
    return lambda: F.softmax((q @ k.transpose(-2, -1) * width ** -0.5).masked_fill(mask, float("-inf")), -1) @ v


def unary(function):
    def make(*shape):
        x = torch.rand(*shape) - 0.5
        return lambda: function(x)
    return make


def add(*shape):
    a, b = torch.rand(*shape), torch.rand(*shape)
    return lambda: a + b


def layer_norm(rows, n):
    x, gain, bias = torch.rand(rows, n), torch.rand(n), torch.rand(n)
    return lambda: F.layer_norm(x, (n,), gain, bias)


def batch_norm(n, c, h, w):
    x, gain, bias, mean, var = torch.rand(n, c, h, w), torch.rand(c), torch.rand(c), torch.zeros(c), torch.ones(c)
    return lambda: F.batch_norm(x, mean, var, gain, bias, True)


def launches(count):
    x = torch.rand(1, 16)

    def chain():
        y = x
        for _ in range(count):
            y = F.softmax(y, -1)
    return chain


OPERATORS = {
    "launches": launches,
    "matmul": matmul, "conv2d": conv2d, "adam": adam, "attention": attention, "add": add, "layer_norm": layer_norm,
    "batch_norm": batch_norm, "relu": unary(torch.relu), "gelu": unary(F.gelu), "copy": unary(torch.clone),
    "softmax": unary(lambda x: F.softmax(x, -1)),
    "conv2d_backward_data": lambda *shape, **more: conv2d(*shape, part="data", **more),
    "conv2d_backward_filter": lambda *shape, **more: conv2d(*shape, part="filter", **more),
}


def do_op(op, shape, seconds, **more):
    torch.manual_seed(1)
    with torch.enable_grad() if op == "adam" else torch.no_grad():
        work = OPERATORS[op](*shape, **more)
        for _ in range(3):
            work()
        times, begin = [], time.perf_counter()
        while len(times) < 5 or time.perf_counter() - begin < seconds:
            start = time.perf_counter()
            work()
            times.append(time.perf_counter() - start)
    return {"seconds": median(times)}
