"""Prints run.sh's JSON lines as a short table: best configuration first for each kernel and shape."""

import json
import sys

rows = []
for line in sys.stdin:
    try:
        rows.append(json.loads(line))
    except ValueError:
        print(line.rstrip()[:300])
for r in sorted(rows, key=lambda r: (r["batch"], r["length"], r.get("dtype"), r.get("states", 0), r["ms"])):
    extra = ""
    if "registers" in r:
        extra = f" r{r['registers']} sp{r['spilled']} sm{r['shared'] // 1024}K x{r['blocksPerSm']} {r['nmse']:.0e} {r['nmseState']:.0e}"
    wrong = "" if r.get("right", True) else f" WRONG unwritten {r['unwritten']}"
    name = f"{r['kernel']} {r.get('config', '')}"
    shape = f"{r['batch']}x{r['length']}x{r.get('channels', 0)} N{r.get('states', 0)} {r['dtype']}"
    print(f"{shape} {r['ms']:.4f} {r['warmMs']:.4f} {name}{extra}{wrong}")
