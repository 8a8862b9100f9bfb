#!/usr/bin/env python3
"""Writes loss_curves.h: ten training steps of two small networks in double precision, with NumPy.

    golden.py > loss_curves.h

All numbers come from the library's counter-based generator (Philox 4x32-10): value i of stream s, 24 bits, in [0, 1).
Weights are (u - 1/2) * scale with a power of two for scale, so that float32 holds them exactly. Step t trains on batch
t mod BATCHES. tests/test_golden.c builds the same networks in the library.

    mlp  x [N, 12] -> linear 16 -> relu -> linear 5 -> softmax cross-entropy; SGD with momentum
    cnn  x [N, 2, 9, 8] -> conv 4, 3x3 -> relu -> max pool 2 -> flatten -> linear 16 -> relu -> linear 5 -> the same; Adam
"""
import numpy as np

STEPS, BATCH, BATCHES, CLASSES, HIDDEN = 10, 16, 2, 5, 16
MLP_IN, CNN_IN, CNN_CHANNELS = 12, (2, 9, 8), 4
MLP_SEED, CNN_SEED = 1000, 2000
SGD_LR, SGD_MOMENTUM = 0.125, 0.875
ADAM_LR, ADAM_BETA1, ADAM_BETA2, ADAM_EPS = 0.0078125, 0.9, 0.999, 1e-8


def philox(seed, index):
    """Value `index` of stream `seed`, 32 bits: word index % 4 of counter index // 4."""
    mask = 0xFFFFFFFF
    c, k = [index // 4 & mask, index // 4 >> 32, 0, 0], [seed & mask, seed >> 32]
    for _ in range(10):
        p, q = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [q >> 32 ^ c[1] ^ k[0], q & mask, p >> 32 ^ c[3] ^ k[1], p & mask]
        k = [k[0] + 0x9E3779B9 & mask, k[1] + 0xBB67AE85 & mask]
    return c[index % 4]


def uniform(seed, shape):
    values = [(philox(seed, i) >> 8) / 2**24 for i in range(int(np.prod(shape)))]
    return np.array(values).reshape(shape)


def labels(seed, count):
    return np.array([philox(seed, i) % CLASSES for i in range(count)])


def softmax_cross_entropy(z, y):
    """The mean loss and d loss / d z."""
    rows = np.arange(len(y))
    z = z - z.max(axis=1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    dz = np.exp(log_p)
    dz[rows, y] -= 1
    return -log_p[rows, y].mean(), dz / len(y)


def mlp(p, x, y):
    h = x @ p["fc1.weight"] + p["fc1.bias"]
    a = np.maximum(h, 0)
    loss, dz = softmax_cross_entropy(a @ p["fc2.weight"] + p["fc2.bias"], y)
    dh = dz @ p["fc2.weight"].T * (h > 0)
    return loss, {"fc1.weight": x.T @ dh, "fc1.bias": dh.sum(0), "fc2.weight": a.T @ dz, "fc2.bias": dz.sum(0)}


def windows(x, size):
    """[N, C, H, W] -> [N, C, H - size + 1, W - size + 1, size, size]"""
    return np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(2, 3))


def cnn(p, x, y):
    patches = windows(x, 3)
    c = np.einsum("nchwij,kcij->nkhw", patches, p["conv1.weight"]) + p["conv1.bias"][:, None, None]
    r = np.maximum(c, 0)
    n, k, height, width = r.shape
    ph, pw = height // 2, width // 2
    cells = r[:, :, :2 * ph, :2 * pw].reshape(n, k, ph, 2, pw, 2).transpose(0, 1, 2, 4, 3, 5).reshape(n, k, ph, pw, 4)
    first = cells.argmax(-1)
    pooled = cells.max(-1)
    loss, g = mlp(p, pooled.reshape(n, -1), y)

    h = pooled.reshape(n, -1) @ p["fc1.weight"] + p["fc1.bias"]
    dz = softmax_cross_entropy(np.maximum(h, 0) @ p["fc2.weight"] + p["fc2.bias"], y)[1]
    dpooled = (dz @ p["fc2.weight"].T * (h > 0) @ p["fc1.weight"].T).reshape(n, k, ph, pw)
    dcells = (first[..., None] == np.arange(4)) * dpooled[..., None]
    dc = np.zeros_like(c)
    dc[:, :, :2 * ph, :2 * pw] = dcells.reshape(n, k, ph, pw, 2, 2).transpose(0, 1, 2, 4, 3, 5).reshape(n, k, 2 * ph, 2 * pw)
    dc *= c > 0
    g["conv1.weight"] = np.einsum("nchwij,nkhw->kcij", patches, dc)
    g["conv1.bias"] = dc.sum(axis=(0, 2, 3))
    return loss, g


def sgd(p, g, state, step):
    for name in p:
        state[name] = SGD_MOMENTUM * state.get(name, 0) + g[name]
        p[name] = p[name] - SGD_LR * state[name]


def adam(p, g, state, step):
    for name in p:
        m, v = state.get(name, (0, 0))
        m = ADAM_BETA1 * m + (1 - ADAM_BETA1) * g[name]
        v = ADAM_BETA2 * v + (1 - ADAM_BETA2) * g[name] ** 2
        state[name] = m, v
        m_hat, v_hat = m / (1 - ADAM_BETA1 ** (step + 1)), v / (1 - ADAM_BETA2 ** (step + 1))
        p[name] = p[name] - ADAM_LR * m_hat / (np.sqrt(v_hat) + ADAM_EPS)


def train(network, update, shapes, scales, seed, in_shape):
    """Streams: seed + batch the inputs, seed + 100 + batch the labels, seed + 200 + i parameter i."""
    p = {name: (uniform(seed + 200 + i, shape) - 0.5) * scale
         for i, ((name, shape), scale) in enumerate(zip(shapes.items(), scales))}
    batches = [(uniform(seed + b, (BATCH, *in_shape)), labels(seed + 100 + b, BATCH)) for b in range(BATCHES)]
    state, losses = {}, []
    for step in range(STEPS):
        loss, g = network(p, *batches[step % BATCHES])
        losses.append(loss)
        update(p, g, state, step)
    return losses


def curves():
    mlp_shapes = {"fc1.weight": (MLP_IN, HIDDEN), "fc1.bias": (HIDDEN,), "fc2.weight": (HIDDEN, CLASSES),
                  "fc2.bias": (CLASSES,)}
    c, h, w = CNN_IN
    flat = CNN_CHANNELS * ((h - 2) // 2) * ((w - 2) // 2)
    cnn_shapes = {"conv1.weight": (CNN_CHANNELS, c, 3, 3), "conv1.bias": (CNN_CHANNELS,), "fc1.weight": (flat, HIDDEN),
                  "fc1.bias": (HIDDEN,), "fc2.weight": (HIDDEN, CLASSES), "fc2.bias": (CLASSES,)}
    return (train(mlp, sgd, mlp_shapes, (1, 0.25, 1, 0.25), MLP_SEED, (MLP_IN,)),
            train(cnn, adam, cnn_shapes, (1, 0.25, 1, 0.25, 1, 0.25), CNN_SEED, CNN_IN))


def main():
    print("/* loss_curves.h - written by golden.py, which says what it is. */")
    print("#ifndef CLG_GOLDEN_LOSS_CURVES_H\n#define CLG_GOLDEN_LOSS_CURVES_H\n")
    for name in ("STEPS BATCH BATCHES CLASSES HIDDEN MLP_IN CNN_IN CNN_CHANNELS MLP_SEED CNN_SEED SGD_LR SGD_MOMENTUM "
                 "ADAM_LR ADAM_BETA1 ADAM_BETA2 ADAM_EPS").split():
        value = globals()[name]
        print(f"#define GOLDEN_{name:<12} {', '.join(map(str, value)) if isinstance(value, tuple) else value}")
    for name, losses in zip(("mlp", "cnn"), curves()):
        print(f"\nstatic const double golden_{name}_losses[GOLDEN_STEPS] = {{")
        for loss in losses:
            print(f"    {loss:.15f},")
        print("};")
    print("\n#endif")


if __name__ == "__main__":
    main()
