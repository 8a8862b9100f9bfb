"""test_doctor.py CLGRAD CL - clgrad doctor: what it says of good and of broken kernels, what it keeps, what that changes."""
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import tap
from program import CLGRAD, DATA, ROOT, clgrad, refuses, succeeds

KERNELS = Path(sys.argv[2])
SHARED = Path(os.environ["XDG_CACHE_HOME"])
PRIVATE = ROOT / "cache"  # what is put into quarantine here must not bother other tests
SPEC = "conv2d(32,3) relu conv2d(32,3) relu flatten linear(10)"

shutil.copytree(SHARED, PRIVATE, ignore=shutil.ignore_patterns("pocl", "quarantine-*", "doctor-*", "*.tmp", "*.bin.*"))
ENV = {"XDG_CACHE_HOME": str(PRIVATE), "CLGRAD_PROFILE": "cpu", "POCL_CACHE_DIR": str(SHARED / "pocl" / "kcache")}


def broken(unit, old, new):
    """A copy of the kernels in which `old` became `new`; returns the environment that uses it."""
    directory = ROOT / f"broken-{unit}"
    shutil.copytree(KERNELS, directory, dirs_exist_ok=True)
    source = (directory / f"{unit}.cl").read_text()
    assert source.count(old) >= 1, (unit, old)
    (directory / f"{unit}.cl").write_text(source.replace(old, new))
    return {**ENV, "CLGRAD_CL_DIR": str(directory)}


def doctor(*arguments, env=None, status=0):
    done = clgrad("doctor", "--json", *arguments, env=env or ENV)
    assert done.returncode == status, done
    told = json.loads(done.stdout)
    return told, {line["name"]: line for line in told["lines"]}


def replay(line, *more):
    """As a shell takes the line."""
    env = {key: value for key, value in {**os.environ, **ENV}.items() if not key.startswith("CLGRAD_")}
    return subprocess.run(" ".join([line["replay"], *more]), shell=True, env=env, capture_output=True, text=True)


def losses(*arguments, env, model=SPEC):
    log = ROOT / "doctor.log"
    succeeds("train", "--data", DATA, "--model", model, "--batch", 32, "--epochs", 3, "--seed", 2, "--log", log,
             "--out", ROOT / "doctor.safetensors", *arguments, env=env)
    return [json.loads(line)["train_loss"] for line in log.read_text().splitlines()]


def fnv(data):
    sum = 0xcbf29ce484222325
    for byte in data:
        sum = (sum ^ byte) * 0x100000001b3 % 2**64
    return sum


def entries():
    return json.loads(succeeds("devices", "--json", env=ENV))["devices"][0]["quarantine"]


def test_wrong_command_lines():
    refuses("doctor", "--seed", "x", status=2, says="--seed")
    refuses("doctor", "--forget", "--quick", status=2, says="--forget")
    refuses("doctor", "--case", "conv3d", status=2, says="conv3d", env=ENV)
    refuses("doctor", "--case", "conv2d.999", status=2, says="conv2d.999", env=ENV)
    refuses("doctor", "--case", "conv2d.1/winograd=3", status=2, says="winograd", env=ENV)
    refuses("doctor", "--device", "nowhere", says="nowhere", env=ENV)


def test_a_sound_device_passes():
    for name in ("products", "transfers", "queues", "limits", "cache"):
        told, lines = doctor("--quick", "--seed", 1, "--case", name)
        assert list(lines) == [name] and told["failed"] == 0 < lines[name]["cases"], told
    told, lines = doctor("--quick", "--case", "softmax", "--seed", 1)
    assert {"softmax", "softmax_grad"} <= set(lines) and told["failed"] == 0 and not told["quarantine"] and not entries(), told
    text = succeeds("doctor", "--case", "softmax.1", "--seed", 1, env=ENV)
    assert re.search(r"^PASS  softmax +1 case$", text, re.MULTILINE) and "0 of 1 cases failed, seed 1" in text, text


def test_broken_winograd_is_found_and_avoided():
    env = broken("winograd", "const vec a = d[s] + d[2 * s], b = d[s] - d[2 * s], c = d[3 * s] + d[4 * s]",
                 "const vec a = d[s] - d[2 * s], b = d[s] - d[2 * s], c = d[3 * s] + d[4 * s]")
    wrong = losses(env=env)
    told, lines = doctor("--quick", "--seed", 7, "--case", "conv2d", env=env, status=1)
    failed = [line for line in lines.values() if line["failed"]]
    assert [line["name"] for line in failed] == ["conv2d"], failed
    assert told["quarantine"] == ["cpu profile winograd=4"] == entries() and told["rejected"] == 0, told
    assert re.match(r"conv2d\.\d+: y\[\d+\] is \S+ instead of \S+: off by \S+ where \S+ is allowed", failed[0]["fault"]), failed

    replayed = replay(failed[0], "--json")
    again = {line["name"]: line for line in json.loads(replayed.stdout)["lines"]}
    assert replayed.returncode == 1 and again["conv2d"]["fault"] == failed[0]["fault"], (replayed, failed)

    right = losses(env={**env, "CLGRAD_PROFILE": "cpu,winograd=2"})  # what is broken has no part in it
    assert losses(env=env) == right != wrong and right[-1] < right[0], (right, wrong)
    assert "cpu profile winograd=4" in succeeds("devices", "-v", env=ENV)
    file = Path(told["file"])
    body = file.read_bytes().split(b"\n", 1)[1] + b"cpu pofile winograd=4\ncpu profile flying=1\n"
    file.write_bytes(b"clgrad-quarantine 1 %016x\n" % fnv(body) + body)
    warned = clgrad("devices", "-v", env=ENV), clgrad("train", "--data", DATA, "--model", SPEC, "--epochs", 1, "--out",
                                                      ROOT / "doctor.safetensors", env=ENV)
    assert all(done.returncode == 0 for done in warned) and not warned[0].stderr, warned
    told = warned[1].stderr.splitlines()
    assert len(told) == 2 and all(str(file) in line and "no entry" in line for line in told) and "flying=1" in told[1], told
    assert f"removed {file}" in succeeds("doctor", "--forget", env=ENV) and not entries()
    assert "there was nothing to forget" in succeeds("doctor", "--forget", env=ENV)


def test_broken_softmax_is_refused():
    env = broken("softmax", "VPUT(VLOAD(out + i) * scale, out + i)", "VPUT(VLOAD(out + i) * -scale, out + i)")
    told, lines = doctor("--quick", "--seed", 7, "--case", "softmax", env=env, status=1)
    assert [line["name"] for line in lines.values() if line["failed"]] == ["softmax"], lines
    assert told["quarantine"] == ["cpu refuse softmax"] == entries() and told["rejected"] == 0, told
    replayed = replay(lines["softmax"])
    assert replayed.returncode == 1 and "FAIL  softmax " in replayed.stdout, replayed

    spec = ["--model", "flatten linear(20) softmax linear(10)", "--data", DATA, "--epochs", 1, "--out", ROOT / "refused.safetensors"]
    for kernels in (env, ENV):  # whatever the kernels: until somebody has looked again
        done = clgrad("train", *spec, env=kernels)
        assert done.returncode == 1 and "softmax" in done.stderr and "clgrad doctor" in done.stderr, done
    losses(env=env, model="flatten linear(10)")  # a network without it
    file = Path(told["file"])
    text = bytearray(file.read_bytes())
    text[len(text) // 2] ^= 1
    file.write_bytes(text)
    refuses("train", *spec, says=[str(file), "damaged"], env=ENV)
    told, _ = doctor("--case", "softmax.1")
    assert told["failed"] == 0
    succeeds("doctor", "--forget", env=ENV)
    assert not entries()


def test_a_broken_gradient_is_not_its_operators_fault():
    env = broken("conv2d_pool", "sum[kh * KW + kw] = fma(d, v,", "sum[kh * KW + kw] = fma(-d, v,")
    told, lines = doctor("--quick", "--seed", 7, "--case", "conv2d_pool_filter", env=env, status=1)
    assert [line["name"] for line in lines.values() if line["failed"]] == ["conv2d_pool_filter"], lines
    assert sorted(entries()) == ["cpu profile fuse=1", "cpu refuse conv2d_pool_filter"] and told["rejected"] == 0, told
    spec = ["--model", "conv2d(2,3) relu max_pool2d(2) flatten linear(10)", "--data", DATA, "--epochs", 1, "--out", ROOT / "unfused.safetensors"]
    succeeds("train", *spec, env=env)  # of other kernels
    succeeds("doctor", "--forget", env=ENV)


def test_kernels_that_cannot_be_read_are_not_the_devices_fault():
    refuses("doctor", "--case", "softmax", says="CLGRAD_CL_DIR", env={**ENV, "CLGRAD_CL_DIR": str(ROOT / "nowhere")})
    assert not entries()


def test_what_is_exact_is_so_with_every_kernel():
    for vec in (1, 2):  # lanes of which few channels are enough for Winograd
        assert doctor("--seed", 3, "--case", f"conv2d.3/vec={vec}")[0]["failed"] == 0


def test_a_crash_is_named_and_avoided():
    env = broken("softmax", "VPUT(VLOAD(out + i) * scale, out + i)", "VPUT(VLOAD(out + i + (1ul << 58)) * scale, out + i)")
    told, lines = doctor("--quick", "--seed", 7, "--case", "softmax", env=env, status=1)
    assert [line["name"] for line in lines.values() if line["crashed"]] == ["softmax"], lines
    # x86 reports an address that cannot be one as SIGSEGV, or as SIGBUS where the compiler put it in a stack register
    assert re.match(r"softmax\.\d, or one like it: ended the process, signal (7|11) ", lines["softmax"]["fault"]), lines
    assert told["quarantine"] == ["cpu refuse softmax"] == entries() and told["rejected"] == 0, told
    replayed = replay(lines["softmax"])
    assert replayed.returncode == 1 and "CRASH softmax " in replayed.stdout, replayed
    succeeds("doctor", "--forget", env=ENV)


tap.run(sys.modules[__name__])
