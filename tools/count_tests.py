"""count_tests.py LOG - prints "PASSED FAILED SKIPPED" for meson's testlog.json, counting test cases, not executables.

Executables print TAP. One that prints no result counts as one case; one that crashes, stops early, runs out of time or
fails without naming a case counts as one failed case more. A log that is missing or empty is a failure."""
import json
import re
import sys


def count(entry):
    output = entry.get("stdout", "")
    passed = failed = skipped = 0
    for line in output.splitlines():
        case = re.match(r"(not )?ok \d+", line)
        if not case:
            continue
        if re.search(r"#\s*SKIP", line, re.IGNORECASE):
            skipped += 1
        elif case.group(1):
            failed += 1
        else:
            passed += 1
    plans = [int(n) for n in re.findall(r"^1\.\.(\d+)\s*$", output, re.MULTILINE)]
    complete = passed + failed + skipped == sum(plans)
    succeeded = entry["result"] in ("OK", "SKIP")
    if not plans and not passed + failed + skipped:
        return (entry["result"] == "OK", not succeeded, entry["result"] == "SKIP")
    if not complete or (not succeeded and not failed):
        failed += 1
    return (passed, failed, skipped)


def main(path):
    try:
        with open(path, encoding="utf-8") as log:
            counts = [count(json.loads(line)) for line in log if line.strip()]
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        counts = []
    print(*map(sum, zip(*counts)) if counts else (0, 1, 0))


main(sys.argv[1])
