#!/usr/bin/env bash
# Runs each libFuzzer target of BIN_DIR for some seconds from the committed corpus; fails on any finding.
#
# Usage: run_fuzzers.sh BIN_DIR CORPUS_DIR SECONDS JOBS
# New inputs go to BIN_DIR/../fuzz-corpus/NAME, never into the committed corpus.
set -euo pipefail
bin=$1 corpus=$2 seconds=$3 jobs=$4
work=$(dirname "$bin")/fuzz-corpus

targets=("$bin"/fuzz_*)
[ -e "${targets[0]}" ] || { echo "no fuzz target in $bin" >&2; exit 1; }

run_one() {
  local target=$1 name
  name=$(basename "$target")
  name=${name#fuzz_}
  mkdir -p "$work/$name"
  if "$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -artifact_prefix="$work/$name-" \
    "$work/$name" "$corpus/$name" >"$work/$name.log" 2>&1; then
    echo "fuzz $name: $(grep -E '^Done|DONE' "$work/$name.log" | tail -n 1)"
  else
    tail -n 60 "$work/$name.log"
    echo "fuzz $name: FAILED; the input is $work/$name-*"
    return 1
  fi
}
export -f run_one
export corpus seconds work
printf '%s\0' "${targets[@]}" | xargs -0 -n 1 -P "$jobs" bash -c 'set -euo pipefail; run_one "$0"'
