#!/bin/bash
# Compiles every variant that the given versions (default: all) name, in parallel, and runs them one after another (Hopper GPU, nvcc).
#   // sweep: DEFINES          a variant to check and time at the usual shapes
#   // also ARGUMENTS: DEFINES  a variant with arguments of its own (shapes BATCHxLENGTHxCHANNELS, or `check`: ragged shapes against fp64)
# ONLY, a regular expression, picks lines. One JSON line a result goes to $OUT/cuda-scan.jsonl.
set -uo pipefail
cd "$(dirname "$0")"
out=${OUT:-/tmp/cuda-lab}
shapes="8x2048x2048 1x2048x2048"
[ $# -gt 0 ] || set -- scan/v*.cu
build=$(mktemp -d)
mkdir -p "$out"
compile() { # source, defines, target
  local flags=()
  for define in $2; do flags+=("-D$define"); done
  nvcc -std=c++20 -O3 -gencode=arch=compute_90a,code=sm_90a -lineinfo "${flags[@]}" "$1" -o "$3" 2>"$3.log" && return
  echo "does not compile: $1 $2"
  head -5 "$3.log"
}
count=0
for source in "$@"; do
  while IFS=: read -r arguments config; do
    count=$((count + 1))
    name=$build/$(printf %03d $count)
    xargs <<<"$config" >"$name.config"
    if [ "$arguments" = sweep ]; then echo "$shapes"; else echo "${arguments#also }"; fi >"$name.arguments"
    compile "$source" "$config" "$name" &
    while [ "$(jobs -rp | wc -l)" -ge "$(nproc)" ]; do wait -n; done
  done < <(sed -n 's|^// \(sweep:\)|\1|p; s|^// \(also .*:\)|\1|p' "$source" | grep -E "${ONLY:-.}")
done
wait
for binary in "$build"/*[0-9]; do
  config=$(cat "$binary.config")
  CONFIG=$config timeout 60 "$binary" $(cat "$binary.arguments") | tee -a "$out/cuda-scan.jsonl" || echo "failed: $config"
done
