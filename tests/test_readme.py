"""test_readme.py CLGRAD README - what the README copies from the program is what the program prints."""
import json
import subprocess
import sys
from pathlib import Path

import tap


def ops(*arguments):
    return subprocess.run([sys.argv[1], "ops", *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout


def test_operators():
    table = ops("--markdown")
    assert table in Path(sys.argv[2]).read_text(), f"put this into the README:\n{table}"


def test_all_lists_name_the_same():
    names = [op["name"] for op in json.loads(ops("--json"))]
    assert [line.split()[0] for line in ops().splitlines()[1:]] == names
    assert len(set(names)) == len(names) and {"matmul", "relu", "permute"} < set(names)
    assert all(f"`{name}`" in ops("--markdown") for name in names)


tap.run(sys.modules[__name__])
