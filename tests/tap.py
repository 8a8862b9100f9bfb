"""tap.py - runs the functions test_* of a module and prints TAP, one case a function."""
import sys
import traceback


class Skip(Exception):
    """Raised by a case that cannot run here; its text says why."""


def run(module):
    cases = [(name[5:], case) for name, case in vars(module).items() if name.startswith("test_")]
    print(f"1..{len(cases)}")
    failed = 0
    for number, (name, case) in enumerate(cases, 1):
        try:
            case()
            print(f"ok {number} - {name}", flush=True)
        except Skip as why:
            print(f"ok {number} - {name} # SKIP {why}", flush=True)
        except Exception:
            failed += 1
            print(f"not ok {number} - {name}", flush=True)
            print("".join("# " + line + "\n" for line in traceback.format_exc().splitlines()), end="", flush=True)
    sys.exit(1 if failed else 0)
