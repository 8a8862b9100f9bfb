"""test_examples.py PROGRAM... - the programs of tools/examples reach what they are written to show."""
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import tap

PROGRAMS = {Path(path).name: Path(path).resolve() for path in sys.argv[1:]}
TEMP = tempfile.TemporaryDirectory()
NUMBER = r"(-?[\d.]+)"


def run(name, *arguments):
    if name not in PROGRAMS:
        raise tap.Skip(f"{name} is not built here")
    done = subprocess.run([PROGRAMS[name], *map(str, arguments)], cwd=TEMP.name, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{name} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done.stdout


def test_linear_regression_finds_slope_and_intercept():
    """Within four standard errors of the fit, which the program derives from the noise: missed once in 16,000 draws."""
    said = run("linear_regression")
    slope, slope_error, intercept, intercept_error = map(float, re.match(
        rf"slope {NUMBER} \+- {NUMBER}  intercept {NUMBER} \+- {NUMBER} ", said).groups())
    assert 0.0 < slope_error < 0.02 and abs(slope - 3.0) <= 4.0 * slope_error, said
    assert 0.0 < intercept_error < 0.02 and abs(intercept) <= 4.0 * intercept_error, said


def xor(name, at_least):
    said = run(name)
    rows = re.findall(rf"loss {NUMBER}  0\^0 {NUMBER}  0\^1 {NUMBER}  1\^0 {NUMBER}  1\^1 {NUMBER}  (\w+)", said)
    solved = [row for row in rows if row[-1] == "solved"]
    assert len(rows) == 10 and f"{len(solved)} of 10 seeds solved" in said, said
    assert len(solved) >= at_least, said
    for _, *p, _ in solved:
        assert [float(value) > 0.5 for value in p] == [False, True, True, False], said


def test_xor_by_relu_is_solved_from_some_seed():
    xor("xor_relu", 1)


def test_xor_by_sigmoids_is_solved_from_most_seeds():
    xor("xor_sigmoid", 5)


tap.run(sys.modules[__name__])
