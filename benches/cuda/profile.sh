#!/bin/bash
# Compiles one variant and writes Nsight Compute's details and per-instruction table to $OUT: profile.sh VERSION.cu "DEFINES" SHAPE NAME
set -euo pipefail
cd "$(dirname "$0")"
out=${OUT:-/tmp/cuda-lab}
flags=()
for define in $2; do flags+=("-D$define"); done
binary=$(mktemp)
nvcc -std=c++20 -O3 -gencode=arch=compute_90a,code=sm_90a -lineinfo "${flags[@]}" "$1" -o "$binary"
ncu --clock-control none -k regex:scan_v -c 1 --set full --import-source no -o "$binary" -f "$binary" "$3" >"$out/$4.log"
ncu -i "$binary.ncu-rep" --page details >"$out/$4.txt"
ncu -i "$binary.ncu-rep" --page source --csv >"$out/$4.csv"
