"""test_layers.py SOURCE CC [CXX] - the rules of the tree: who includes whom, no file forgotten, lone headers."""
import os
import re
import subprocess
import sys
from pathlib import Path

import tap

SOURCE, CC = Path(sys.argv[1]), sys.argv[2].split()
CXX = sys.argv[3].split() if len(sys.argv) > 3 else None

# Folder: the folders and library headers it may include, besides its own folder and the standard library.
MAY_INCLUDE = {
    "include/clgrad": ["clgrad/"],
    "src/base": ["clgrad/"],
    "src/device": ["clgrad/", "base/", "CL/cl.h"],
    "src/blas": ["clgrad/", "device/", "base/", "clblast_c.h", "CL/cl.h"],
    "src/graph": ["clgrad/", "base/"],
    "src/ops": ["graph/op.h", "op.h"],
    "src/plan": ["clgrad/", "graph/", "device/", "blas/", "base/"],
    "src/nn": ["clgrad/"],
    "src/data": ["clgrad/", "base/", "zlib.h", "cjson/cJSON.h", "png.h", "jpeglib.h"],
    "src/doctor": ["clgrad/", "plan/", "graph/", "device/", "blas/", "base/"],
    "tools": ["clgrad/", "cjson/cJSON.h"],
}
STANDARD = set("""assert complex ctype errno fenv float inttypes iso646 limits locale math setjmp signal stdalign stdarg
    stdatomic stdbool stddef stdint stdio stdlib stdnoreturn string tgmath threads time uchar wchar wctype
    dirent dlfcn fcntl link poll pthread spawn strings unistd sys/file sys/mman sys/prctl sys/socket sys/stat sys/statvfs sys/types sys/wait""".split())
C_ALONE = {"float", "inttypes", "limits", "math", "stdio", "stdlib", "string"}


def read(path):
    return path.read_text(encoding="utf-8")


def files(*patterns):
    return sorted(path for pattern in patterns for path in SOURCE.glob(pattern) if path.is_file())


def relative(path):
    return path.relative_to(SOURCE).as_posix()


def code(path):
    """The text without comments and string literals' contents."""
    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"',
                  lambda m: '""' if m.group()[0] == '"' else " ", read(path), flags=re.DOTALL)


def room(path):
    name = relative(path)
    return max((folder for folder in MAY_INCLUDE if name.startswith(folder + "/")), key=len, default=None)


def allowed(path, included):
    folder = room(path)
    if relative(path) == "include/clgrad/cl.h" and included == "CL/cl.h":
        return True
    if included.endswith(".h") and included[:-2] in (C_ALONE if folder == "src/ops" else STANDARD):
        return True
    if any(included == rule or (rule.endswith("/") and included.startswith(rule)) for rule in MAY_INCLUDE[folder]):
        return True
    own = folder.removeprefix("src/") + "/"
    inside = path.parent / included if "/" not in included else SOURCE / "src" / included
    return inside.is_file() and (included.startswith(own) or inside.parent == path.parent)


def test_every_include_keeps_to_its_layer():
    wrong, seen = [], 0
    for path in files("include/clgrad/*.h", "src/**/*.[ch]", "tools/**/*.[ch]"):
        assert room(path), f"{relative(path)} lies in no known folder"
        for included in re.findall(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', read(path), re.MULTILINE):
            seen += 1
            if not allowed(path, included):
                wrong.append(f"{relative(path)} includes {included}")
    assert seen > 50, f"only {seen} includes found"
    assert not wrong, "\n".join(wrong)


def test_one_file_sees_clblast():
    users = [relative(path) for path in files("src/**/*.[ch]", "tools/**/*.[ch]") if "clblast_c.h" in read(path)]
    assert len(users) <= 1, users


def test_library_never_ends_the_process():
    wrong = [relative(path) for path in files("src/**/*.[ch]")
             if re.search(r"(?<![\w.>])(exit|abort|_Exit|quick_exit|assert)\s*\(", code(path))]
    assert not wrong, wrong


def test_no_file_is_forgotten():
    forgotten = []
    for path in files("src/*/*.c", "cl/*.cl", "include/clgrad/*.h", "tests/test_*", "tools/clgrad/*.c"):
        builds = [path.parent / "meson.build", path.parent.parent / "meson.build", SOURCE / "src/meson.build"]
        text = "".join(read(build) for build in builds if build.is_file())
        if not re.search(rf"['/]({re.escape(path.name)}|{re.escape(path.stem)})'", text):
            forgotten.append(relative(path))
    assert not forgotten, f"in no meson.build: {forgotten}"


def test_every_opencl_call_can_be_made_to_fail():
    called = set(re.findall(r"\bcl[A-Z]\w+(?=\()", "".join(code(path) for path in files("src/**/*.c"))))
    missing = called - set(re.findall(r"(?m)^\w+\((cl\w+),", read(SOURCE / "tests/fault.c")))
    assert len(called) > 30 and not missing, f"not in tests/fault.c: {missing}"


def test_kernels_say_what_they_need():
    wrong = [relative(path) for path in files("cl/*.cl") if not read(path).startswith(f"/* {path.name} - ")]
    assert not wrong, f"no paragraph at the top: {wrong}"


def test_files_are_rooms():
    large = [f"{relative(path)}: {len(read(path).splitlines())} lines"
             for path in files("include/clgrad/*.h", "src/**/*.[ch]", "cl/*.cl", "tools/**/*.[ch]", "tests/*.[ch]")
             if len(read(path).splitlines()) > 700]
    assert not large, large


def compile_text(command, language, text):
    done = subprocess.run(command + ["-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-I", str(SOURCE / "include"),
                                     "-x", language, "-"], input=text, capture_output=True, text=True)
    return done.stderr if done.returncode else ""


def headers_alone(command, language, standard):
    headers = files("include/clgrad/*.h")
    assert len(headers) > 5
    for header in headers:
        # Twice, so that a missing guard shows.
        text = f"#include <clgrad/{header.name}>\n" * 2 + "extern int clg_unit; int clg_unit = 0;\n"
        error = compile_text(command + [standard, "-pedantic"], language, text)
        assert not error, f"{header.name} alone:\n{error}"


def test_every_public_header_compiles_alone_in_c():
    headers_alone(CC, "c", "-std=c11")


def test_every_public_header_compiles_alone_in_cxx():
    if not CXX:
        raise tap.Skip("no C++ compiler")
    headers_alone(CXX, "c++", "-std=c++11")


def test_shapes_can_be_written_in_cxx():
    if not CXX:
        raise tap.Skip("no C++ compiler")
    error = compile_text(CXX + ["-std=c++11", "-pedantic"], "c++", "#include <clgrad/clgrad.h>\n"
                         "clg_tensor *f(clg_graph *g);\n"
                         "clg_tensor *f(clg_graph *g) { return clg_input(g, CLG_F32, CLG_SHAPE(2, 3)); }\n")
    assert not error, error


def test_public_headers_declare_only_prefixed_names():
    names = set()
    for path in files("include/clgrad/*.h"):
        names |= set(re.findall(r"^\s*#\s*define\s+(\w+)", read(path), re.MULTILINE))
    strangers = sorted(name for name in names if not name.startswith(("CLG_", "CLGRAD_", "CL_TARGET")))
    assert not strangers, strangers


os.environ.setdefault("LC_ALL", "C")
tap.run(sys.modules[__name__])
