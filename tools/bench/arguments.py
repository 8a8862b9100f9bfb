"""arguments.py - what the measuring programs here ask of their options: a wrong one ends them with one message and status 2."""
import argparse
import math
import os


def count(text):
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a whole number from 1 on is needed, not '{text}'")
    return int(text)


def seconds(text):
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"a number of seconds above 0 is needed, not '{text}'")
    return value


def require_program(parser, path):
    if not os.path.isfile(path) or not os.access(path, os.X_OK):
        parser.error(f"--clgrad: {path} is no program; 'ninja -C build' makes build/clgrad")
