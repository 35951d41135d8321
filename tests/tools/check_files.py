"""Checks what holds for every file of the tree, whatever it says.

Usage: check_files.py [ROOT]     prints one line for each finding; exit 1 if there is any

- A source file has at most 700 lines; from 450 on there is a warning.
- No open ends: words that stand for work left undone.
- No absolute path of one machine.
- Every header begins with a comment that says what it is for.
- Every .cc file is named in a CMake file of its folder or above, or in cmake/: none is forgotten.
- Every folder of tests/unit mirrors a source folder, and every source folder with code has tests there
  (the server's transport: in tests/api).
"""

import glob
import os
import re
import sys

LIMIT_LINES = 700
WARN_LINES = 450
CODE = (".cc", ".h", ".cu", ".cuh", ".py", ".sh", ".proto", ".cmake", "CMakeLists.txt", "Makefile", "Dockerfile")
COUNTED = (".cc", ".h", ".cu", ".cuh", ".py")
SOURCE_TOPS = ("workers", "proto", "server", "client")
# Rooms that are nothing without a transport: their tests are those of the whole server.
TESTED_THROUGH_THE_API = {"server", "server/rpc"}
SKIPPED = {".git", "build", ".venv", "__pycache__", "corpus"}

# Split, so that this file does not find itself.
OPEN_ENDS = re.compile(
    r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b|not (yet )?imple" r"mented|\bplace" r"holder\b|\bfor n" r"ow\b")
MACHINE_PATHS = re.compile(r"(^|[\s\"'=(:,`])/(wo" r"rk|ro" r"ot|ho" r"me)/[A-Za-z.]")


def list_files(root):
    """Relative paths of the tree's own files, sorted."""
    paths = []
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in SKIPPED)
        paths.extend(os.path.relpath(os.path.join(folder, name), root) for name in names)
    return sorted(paths)


def read_lines(root, path):
    with open(os.path.join(root, path), encoding="utf-8", errors="replace") as file:
        return file.read().splitlines()


def check_length(path, lines):
    if path.endswith(COUNTED) and len(lines) > LIMIT_LINES:
        return [f"{path}: {len(lines)} lines; the limit is {LIMIT_LINES}"]
    return []


def check_words(path, lines):
    findings = []
    for number, line in enumerate(lines, 1):
        match = OPEN_ENDS.search(line)
        if match and path.endswith(CODE):
            findings.append(f'{path}:{number}: an open end: "{match.group(0)}"')
        match = MACHINE_PATHS.search(line)
        if match:
            findings.append(f"{path}:{number}: a path of one machine: {match.group(0).strip()}")
    return findings


def check_header_comment(path, lines):
    first = next((line for line in lines if line.strip()), "")
    if path.endswith(".h") and not first.startswith(("//", "/*")):
        return [f"{path}: begins without a comment that says what the header is for"]
    return []


def check_named_in_cmake(root, path):
    """A .cc file stands in a CMake file of its folder or of one above, or in cmake/*.cmake."""
    if any(_names(file, path) for file in glob.glob(os.path.join(root, "cmake", "*.cmake"))):
        return []
    folder = os.path.dirname(path)
    while folder:
        local = [os.path.join(root, folder, "CMakeLists.txt"), *glob.glob(os.path.join(root, folder, "*.cmake"))]
        if any(_names(file, os.path.relpath(path, folder)) for file in local if os.path.exists(file)):
            return []
        folder = os.path.dirname(folder)
    return [f"{path}: in no CMake target"]


def _names(cmake_file, path):
    with open(cmake_file, encoding="utf-8") as file:
        text = re.sub(r"#.*", "", file.read())
    return re.search(rf"(^|[\s/(]){re.escape(path)}([\s)]|$)", text) is not None


def check_mirror(root, paths):
    findings = []
    tested = set()
    for path in paths:
        if path.startswith("tests/unit/") and path.endswith("_test.cc"):
            source = os.path.relpath(os.path.dirname(path), "tests/unit")
            tested.add(source)
            if not os.path.isdir(os.path.join(root, source)):
                findings.append(f"{path}: tests/unit mirrors the source tree, but there is no folder {source}")
        if path.startswith("tests/api/") and path.endswith("_test.cc"):
            tested |= TESTED_THROUGH_THE_API
    sources = {os.path.dirname(p) for p in paths if p.endswith(".cc") and p.startswith(SOURCE_TOPS)}
    findings.extend(f"{source}: has code but no test in tests/unit/{source}" for source in sorted(sources - tested))
    return findings


def check(root):
    """(findings, warnings) of the tree below `root`."""
    paths = list_files(root)
    findings, warnings = check_mirror(root, paths), []
    for path in paths:
        if path.endswith((".cc", ".md", ".json", ".yaml", ".txt", "run") + CODE):
            lines = read_lines(root, path)
            findings += check_length(path, lines) + check_words(path, lines) + check_header_comment(path, lines)
            if path.endswith(COUNTED) and WARN_LINES < len(lines) <= LIMIT_LINES:
                warnings.append(f"{path}: {len(lines)} lines; usual is up to {WARN_LINES}")
        if path.endswith(".cc"):
            findings += check_named_in_cmake(root, path)
    return findings, warnings


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "..", "..")
    findings, warnings = check(os.path.abspath(root))
    for warning in warnings:
        print(f"warning: {warning}")
    print("\n".join(findings) if findings else "files: the house rules hold")
    sys.exit(1 if findings else 0)


if __name__ == "__main__":
    main()
