"""Runs clang-tidy-16 on the .cc files that changed, or on all of them.

Usage: run_clang_tidy.py BUILD_DIR [--all] [-j JOBS] [--base COMMIT]

BUILD_DIR holds compile_commands.json. Without --all the files are those that differ from --base; its default
is the merge base with origin/main, and when that is HEAD itself (a fresh clone of main) the commit before it:
reading every file takes two cores a quarter of an hour.
A file's clean verdict is kept in BUILD_DIR's parent under clang-tidy/ (or in $QUANTD_TIDY_CACHE), keyed by the
configuration, the command and the preprocessed text, so that a second run only reads what is new.
"""

import argparse
import concurrent.futures
import hashlib
import json
import os
import shlex
import subprocess
import sys

TIDY = "clang-tidy-16"
CLANG = "clang++-16"
TOPS = ("workers", "proto", "server", "client")


def changed_files(base):
    """Paths that differ from `base`; none when there is nothing to differ from."""
    if base is None:
        merge = _git("merge-base", "HEAD", "origin/main")
        if merge is None or merge == _git("rev-parse", "HEAD"):
            merge = _git("rev-parse", "--verify", "HEAD~1")
        if merge is None:
            print("clang-tidy: no earlier commit to compare with; --all reads every file")
            return set()
        base = merge
    tracked = _git("diff", "--name-only", base) or ""
    untracked = _git("ls-files", "-o", "--exclude-standard") or ""
    return set((tracked + "\n" + untracked).split())


def commands(build, root):
    """{relative path: compile command} of our own .cc files."""
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as file:
        entries = json.load(file)
    found = {}
    for entry in entries:
        path = os.path.relpath(entry["file"], root)
        if path.startswith(TOPS):
            found[path] = entry
    return found


def verdict_key(entry, config):
    """What a verdict depends on; None when the preprocessor fails (clang-tidy then says why)."""
    words = [w for w in shlex.split(entry["command"]) if w != "ccache"]
    cut = words.index("-o")
    flags = [w for w in words[1:cut] + words[cut + 2 :] if w != "-c"]
    # Comments stay (NOLINT lives there); line markers go (they hold the folder of the clone).
    run = subprocess.run([CLANG, *flags, "-E", "-C", "-P", "-Wno-everything"], cwd=entry["directory"],
                         capture_output=True, check=False)
    if run.returncode != 0:
        return None
    return hashlib.sha256(config + run.stdout).hexdigest()


def tidy(path, entry, build, config, cache):
    """(path, output) where output is empty for a clean file."""
    key = verdict_key(entry, config)
    stamp = key and os.path.join(cache, key)
    if stamp and os.path.exists(stamp):
        return path, ""
    run = subprocess.run([TIDY, "-p", build, "--quiet", entry["file"]], capture_output=True, text=True, check=False)
    if run.returncode == 0:
        if stamp:
            open(stamp, "w", encoding="utf-8").close()
        return path, ""
    return path, run.stdout + run.stderr


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("build")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--base")
    parser.add_argument("-j", type=int, default=os.cpu_count())
    args = parser.parse_args()

    root = _git("rev-parse", "--show-toplevel")
    build = os.path.abspath(args.build)
    cache = os.environ.get("QUANTD_TIDY_CACHE", os.path.join(os.path.dirname(build), "clang-tidy"))
    os.makedirs(cache, exist_ok=True)
    with open(os.path.join(root, ".clang-tidy"), "rb") as file:
        config = file.read()

    files = commands(build, root)
    changed = None if args.all else changed_files(args.base)
    if changed is not None:
        files = {path: entry for path, entry in files.items() if path in changed}
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(args.j) as pool:
        jobs = [pool.submit(tidy, path, entry, build, config, cache) for path, entry in sorted(files.items())]
        for job in concurrent.futures.as_completed(jobs):
            path, output = job.result()
            if output:
                failed += 1
                print(f"-- {path}\n{output}", flush=True)
    print(f"clang-tidy: {len(files)} files read, {failed} with findings")
    sys.exit(1 if failed else 0)


def _git(*words):
    run = subprocess.run(["git", *words], capture_output=True, text=True, check=False)
    return run.stdout.strip() if run.returncode == 0 else None


if __name__ == "__main__":
    main()
