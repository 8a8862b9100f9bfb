"""test_install.py SOURCE BUILD CC - what `meson install` leaves suffices to build and run a program."""
import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import idx
import tap

SOURCE, BUILD, CC = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3].split()
TEMP = tempfile.TemporaryDirectory()
ROOT = Path(TEMP.name)


def run(command, **more):
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, **more)
    said = done.stdout + done.stderr
    assert done.returncode == 0, f"{shlex.join(map(str, command))} ended with {done.returncode}:\n{said}"
    return done.stdout


def prefix():
    return next(path.parent for path in ROOT.glob("stage/**/include") if (path / "clgrad").is_dir())


def pkg_config(*arguments):
    pc = next(ROOT.glob("stage/**/clgrad.pc"))
    env = {**os.environ, "PKG_CONFIG_PATH": str(pc.parent)}
    return run(["pkg-config", f"--define-variable=prefix={prefix()}", *arguments, "clgrad"], env=env).split()


def test_install():
    run(["meson", "install", "-C", BUILD, "--no-rebuild", "--destdir", ROOT / "stage"])
    assert (prefix() / "bin/clgrad").is_file()
    assert (prefix() / "include/clgrad/clgrad.h").is_file()


def test_manual_and_completion():
    clgrad = BUILD / "clgrad"
    commands = re.findall(r"^  ([a-z]+) ", run([clgrad, "help"]), re.M)
    pages = {path.name: path.read_text() for path in (prefix() / "share/man/man1").iterdir()}
    assert set(pages) == {"clgrad.1", *(f"clgrad-{command}.1" for command in commands)}, set(pages)
    assert all(pages[f"clgrad-{command}.1"] == run([clgrad, "help", "--man", command]) for command in commands)
    assert "_clgrad()" in (prefix() / "share/bash-completion/completions/clgrad").read_text()


def test_pkg_config_knows_the_version():
    assert pkg_config("--modversion") == run([BUILD / "clgrad", "--version"]).split()[1:]


def compiled(name, *libraries):
    run([*CC, "-std=c11", "-Wall", "-Wextra", "-Werror", SOURCE / f"tools/examples/{name}.c",
         *pkg_config("--cflags", "--libs"), *libraries, "-o", ROOT / name], cwd=ROOT)


def test_examples_compile_outside_the_tree():
    for path in sorted((SOURCE / "tools/examples").glob("*.c")):
        lines = path.read_text().splitlines()
        assert len(lines) < 80, (path, len(lines))
        libraries = next(line for line in lines if line.startswith(" * cc ")).partition("clgrad)")[2].partition("-o")[0]
        compiled(path.stem, *libraries.split())


def test_example_trains():
    idx.write_pair(ROOT / "data", "train", idx.images(300, 28, 28))
    idx.write_pair(ROOT / "data", "t10k", idx.images(100, 28, 28, seed=2))
    env = {**os.environ, "LD_LIBRARY_PATH": str(next(ROOT.glob("stage/**/libclgrad.so")).parent)}
    lines = run([ROOT / "image_cnn", ROOT / "data"], cwd=ROOT, env=env).splitlines()
    assert len(lines) == 5 and lines[-1].startswith("epoch 5 "), lines
    assert float(lines[-1].split()[-1].rstrip("%")) >= 50.0, lines
    assert (ROOT / "image_cnn.safetensors").stat().st_size > 4 * 128 * 64 * 7 * 7


def test_example_names_what_is_wrong():
    env = {**os.environ, "LD_LIBRARY_PATH": str(next(ROOT.glob("stage/**/libclgrad.so")).parent)}
    done = subprocess.run([ROOT / "image_cnn", ROOT / "nowhere"], cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 1 and "nowhere" in done.stderr, done


tap.run(sys.modules[__name__])
