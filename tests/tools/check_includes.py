"""Checks who includes whom: the rooms of the house and the libraries that each may touch.

Usage: check_includes.py [ROOT]     prints one line for each forbidden include; exit 1 if there is any

A room is the longest prefix below that matches a file's folder; a room may always include itself. RULES names
for each room the other rooms (or single headers) and, after the bar, the third-party libraries it may
include. The standard library, C and POSIX headers and Abseil are open to all.
"""

import os
import re
import sys

RULES = {
    # room: (rooms and single headers, libraries)
    "workers/core": ([], ["xxhash"]),
    "workers/linalg": (["workers/core"], ["openblas"]),
    "workers/calib": (["workers/core", "workers/linalg"], []),
    "workers/levels": (["workers/core", "workers/linalg"], []),
    "workers/fit": (["workers/core", "workers/linalg", "workers/levels"], []),
    "workers/exceptions": (["workers/core", "workers/linalg"], []),
    "workers/measure": (["workers/core", "workers/linalg"], []),
    "workers/pack": (["workers/core", "workers/linalg"], []),
    "workers/transform": (
        ["workers/core", "workers/linalg", "workers/calib", "workers/levels", "workers/fit"],
        [],
    ),
    "workers/solve": (
        ["workers/core", "workers/linalg", "workers/calib", "workers/levels", "workers/fit", "workers/exceptions"],
        [],
    ),
    # Presets and words: pure data, so that the wire and the command line may know them too.
    "workers/methods": (["workers/core"], []),
    "workers/compose": (
        ["workers/core", "workers/linalg", "workers/calib", "workers/levels", "workers/fit", "workers/exceptions",
         "workers/transform", "workers/solve"],
        [],
    ),
    "workers/engine": (
        ["workers/core", "workers/linalg", "workers/calib", "workers/levels", "workers/transform",
         "workers/compose", "workers/methods", "workers/pack", "workers/measure"],
        [],
    ),
    # Arithmetic on figures that were measured: no tensors, so that the wire and the command line may
    # know it, too.
    "workers/planner": (["workers/core"], []),
    "workers/pool": (["workers/core"], []),
    "proto/wire": (["workers/core", "workers/methods", "workers/planner"], ["messages", "isal"]),
    # The message-free half of the wire: plain structs of bytes, no protobuf type in sight.
    "server/session": (
        ["workers/core", "workers/engine", "workers/pool", "server/admission",
         "proto/wire/frames.h", "proto/wire/chunker.h", "proto/wire/assembler.h"],
        [],
    ),
    "server/admission": (
        ["workers/core", "workers/engine", "workers/pool",
         "proto/wire/frames.h", "proto/wire/chunker.h", "proto/wire/assembler.h"],
        [],
    ),
    "server/rpc": (
        ["proto/wire", "server/session", "server/admission", "workers/core", "workers/planner"],
        ["messages", "stubs", "grpc"],
    ),
    "server/telemetry": (["workers/core"], ["prometheus", "json"]),
    "server/lifecycle": (["workers/core", "workers/pool"], []),
    # main, options and the embedded server: the place where the rooms are put together.
    "server": (
        ["server/session", "server/admission", "server/rpc", "server/telemetry", "server/lifecycle",
         "workers/core", "workers/linalg", "workers/engine", "workers/pool", "proto/wire"],
        ["messages", "stubs", "grpc", "cli11", "json", "openssl", "prometheus"],
    ),
    "client/files": (["workers/core", "workers/methods", "workers/pack"], ["json", "xxhash", "re2"]),
    "client/pages": (["workers/core", "workers/planner"], []),
    "client/lib": (
        ["workers/core", "proto/wire", "server/embedded.h"],
        ["messages", "stubs", "grpc", "json"],
    ),
    # What a run tells; it borrows the HTTP endpoint of the server's metrics.
    "client/telemetry": (
        ["workers/core", "proto/wire/frames.h", "server/telemetry/metrics_endpoint.h"],
        ["prometheus"],
    ),
    "client/cli": (
        ["workers/core", "workers/methods", "workers/pack", "workers/planner", "proto/wire", "client/lib",
         "client/files", "client/pages", "client/telemetry", "server/embedded.h"],
        ["messages", "stubs", "grpc", "cli11", "json", "yaml"],
    ),
    "client/load": (
        ["workers/core", "proto/wire", "client/lib", "server/embedded.h"],
        ["messages", "stubs", "grpc", "cli11", "json"],
    ),
}

# Which library an include path belongs to. The generated messages and stubs count as libraries.
LIBRARIES = [
    ("stubs", r"quantd/v1/.*\.grpc\.pb\.h"),
    ("messages", r"quantd/v1/.*\.pb\.h|google/protobuf/.*"),
    ("grpc", r"grpc(pp)?/.*"),
    ("prometheus", r"prometheus/.*|Civet.*|civetweb.*"),
    ("openblas", r"cblas.*|openblas.*|lapacke?.*|f77blas\.h"),
    ("xxhash", r"xxh.*"),
    ("isal", r"isa-l.*|crc(64)?\.h|isal?/.*"),
    ("json", r"nlohmann/.*"),
    ("yaml", r"yaml-cpp/.*"),
    ("re2", r"re2/.*"),
    ("cli11", r"CLI/.*"),
    ("openssl", r"openssl/.*"),
    ("test", r"gtest/.*|gmock/.*|benchmark/.*"),
]

# Open to every room: Abseil, and system headers (no folder, or a folder of the kernel's and C library's).
OPEN = re.compile(r"absl/.*|[a-z0-9_]+(\.h)?|(sys|linux|netinet|arpa|net|asm|sanitizer)/.*")
OUR_TREE = re.compile(r"(workers|proto|server|client|tests)/")
INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^">]+)[">]')
SOURCES = (".cc", ".h", ".cu", ".cuh", ".inc")


def room_of(path):
    """The room that `path` (relative, with slashes) lies in, or None."""
    folder = os.path.dirname(path)
    while folder:
        if folder in RULES:
            return folder
        folder = os.path.dirname(folder)
    return None


def complaint(path, included):
    """Why `path` must not include `included`; None when it may."""
    room = room_of(path)
    if room is None:
        return f"lies in no room of the include table"
    rooms, libraries = RULES[room]
    if OUR_TREE.match(included):
        target = room_of(included)
        if included in rooms or target == room or target in rooms:
            return None
        return f"room {room} may not include room {target}" if target else f"{included} lies in no room"
    for library, pattern in LIBRARIES:
        if re.fullmatch(pattern, included):
            return None if library in libraries else f"room {room} may not use {library}"
    return None if OPEN.fullmatch(included) else f"unknown library; name it in check_includes.py"


def check(root):
    """Complaints as "path:line: include: reason" for every source file of the rooms below `root`."""
    findings = []
    for top in ("workers", "proto", "server", "client"):
        for folder, _, names in os.walk(os.path.join(root, top)):
            for name in sorted(names):
                if name.endswith(SOURCES):
                    full = os.path.join(folder, name)
                    findings.extend(_check_file(full, os.path.relpath(full, root)))
    return findings


def _check_file(full, path):
    findings = []
    with open(full, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            match = INCLUDE.match(line)
            reason = match and complaint(path, match.group(1))
            if reason:
                findings.append(f"{path}:{number}: {match.group(1)}: {reason}")
    return findings


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "..", "..")
    findings = check(os.path.abspath(root))
    print("\n".join(findings) if findings else "includes: the house rules hold")
    sys.exit(1 if findings else 0)


if __name__ == "__main__":
    main()
