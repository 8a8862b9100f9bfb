"""test_help.py CLGRAD - help, manual pages and completion say what the tables of options say."""
import re
import shutil
import subprocess
import sys

import tap
from program import CLGRAD, ROOT, clgrad, refuses, succeeds

COMMANDS = re.findall(r"^  ([a-z]+) ", succeeds("help"), re.M)


def options(command):
    """{"--name": what its value is called or ""} by the command's help."""
    return {f"--{name}": value for name, value in re.findall(r"^  (?:-\w, )?--([a-z0-9-]+)(\[=FILE\]| \S+|)", succeeds("help", command), re.M)}


def test_help_of_every_command():
    assert {"devices", "train", "eval", "predict", "help"} <= set(COMMANDS)
    for command in COMMANDS:
        text = succeeds("help", command)
        assert text == succeeds(command, "--help") == succeeds(command, "-h") == succeeds("--help", command), command
        assert text.startswith(f"Usage: clgrad {command}") and "\nExamples:\n  " in text, text
        assert all(len(line) <= 100 and line == line.rstrip() for line in text.splitlines() if "|" not in line), text
        starts = re.findall(r"^  (?!clgrad ).{22} (\S.*)$", text, re.M)
        assert not [start for start in starts if re.match("[A-Z][a-z]", start)], (command, starts)
    assert succeeds("--help") == succeeds("help") == succeeds("-h")
    refuses("help", "frobnicate", status=2, says="frobnicate")
    refuses("help", "train", "eval", status=2, says="eval")
    refuses("help", "--completion", "fish", status=2, says="bash")
    refuses("help", "train", "--completion", "bash", status=2, says="--completion")


def run_together(text):
    return re.sub(r"[-\s]", "", text)  # lines are filled, and words divided


def rendered(command, page):
    """The page as text; fails when whoever renders it warns."""
    if shutil.which("man"):
        done = subprocess.run(["man", "--warnings=w", "-E", "ascii", "-l", "-"], input=page, capture_output=True, text=True, env={"MANWIDTH": "100", "PATH": "/usr/bin:/bin"})
    elif shutil.which("groff"):
        done = subprocess.run(["groff", "-man", "-ww", "-Tascii", "-P-c"], input=page, capture_output=True, text=True)
    elif shutil.which("mandoc"):
        done = subprocess.run(["mandoc", "-T", "ascii", "-W", "warning"], input=page, capture_output=True, text=True)
    else:
        raise tap.Skip("no man, groff or mandoc")
    assert done.returncode == 0 and not done.stderr, (command, done.stderr)
    return re.sub(".\b", "", done.stdout)


def test_manual_pages():
    whole = rendered("clgrad", succeeds("help", "--man"))
    for command in COMMANDS:
        assert f"clgrad-{command}(1)" in whole, whole
        text = rendered(command, succeeds("help", "--man", command))
        assert f"CLGRAD-{command.upper()}(1)" in text and "EXIT STATUS" in text and "CLGRAD_DEVICE" in text, text
        help_text = succeeds("help", command)
        for option in options(command):
            assert re.search(rf"^ +(-\w, )?{option}\b", text, re.M), (command, option, text)
        examples = [line.strip() for line in help_text.partition("\nExamples:\n")[2].splitlines()]
        assert examples and all(line in text for line in examples), (examples, text)
        for paragraph in help_text.split("\n\n")[1:3]:
            if not paragraph.startswith(("  ", "Examples:")):
                assert run_together(paragraph) in run_together(text), (paragraph, text)


# ---- completion ---------------------------------------------------------------------------------------------------


def complete(*words, bash=shutil.which("bash")):
    """What bash offers for the last of the words after clgrad."""
    if not bash:
        raise tap.Skip("no bash")
    script = ROOT / "completion.bash"
    script.write_text(succeeds("help", "--completion", "bash"))
    drive = 'source "$0"; COMP_WORDS=(clgrad "$@"); COMP_CWORD=$#; _clgrad clgrad; printf "%s\\n" "${COMPREPLY[@]}"; complete -p clgrad'
    done = subprocess.run([bash, "--norc", "-c", drive, script, *words], capture_output=True, text=True, cwd=ROOT)
    script.unlink()
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and not done.stderr and lines.pop() == "complete -F _clgrad clgrad", done
    return set(lines) - {""}


def test_completion():
    assert complete("") == {*COMMANDS, "--help", "--version"}
    assert complete("tr") == {"train"} and complete("frobnicate", "") == set()
    for command in COMMANDS:
        known = options(command)
        assert complete(command, "--") == {"--help", *known}, command
        assert {f"--{name}" for name in re.findall(r"\*=?:" + command + r":--([a-z0-9-]+)", succeeds("help", "--completion", "bash"))} \
            == {name for name, value in known.items() if value}, command
        for option, value in known.items():
            if "|" in value and "[" not in value:
                assert complete(command, option, "") == set(value.strip().split("|")), (command, option)
    assert complete("train", "--optimizer", "ada") == complete("train", "--optimizer", "=", "ada") == {"adam", "adamw"}
    assert complete("train", "--schedule", "=") == {"constant", "step", "cosine", "one-cycle"}
    assert complete("train", "--normalize", "--rep") == {"--report"}
    assert complete("train", "--seed", "") == complete("train", "--label", "") == complete("train", "") == set()
    assert complete("help", "tr") == {"train"}


def test_completion_of_files():
    (ROOT / "a file.csv").write_text("")
    (ROOT / "a directory").mkdir()
    both = {"a file.csv", "a directory"}
    for words in (["train", "--data"], ["train", "--data", "="], ["train", "--lr-find", "="], ["explain", "-o"], ["eval"], ["predict", "m"]):
        assert complete(*words, "a ") == both, words
    assert complete("bench", "--dump-programs", "a ") == {"a directory"}
    assert complete("train", "--data", "f") == {"fashion-mnist"} and complete("train", "--lr-find", "a ") == set()
    assert complete("train", "--model", "") >= {"cnn", "mlp", *both} and complete("summary", "re") == {"resnet18"}


tap.run(sys.modules[__name__])
