"""FlashAttention-2 (torch's SDPA, causal, bf16, 16 heads of 64) timed as the laboratory times: medians with a cold and a warm L2 cache."""

import json
import statistics
import sys

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

scratch = torch.empty(256 << 20, dtype=torch.uint8, device="cuda")


def median_ms(body, cold, runs=25):
    times = []
    for run in range(-3, runs):
        start, stop = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        if cold:
            scratch.fill_(run & 255)
        start.record()
        body()
        stop.record()
        torch.cuda.synchronize()
        if run >= 0:
            times.append(start.elapsed_time(stop))
    return statistics.median(times)


for shape in sys.argv[1:]:
    batch, length = map(int, shape.split("x"))
    q, k, v = (torch.randn(batch, 16, length, 64, device="cuda", dtype=torch.bfloat16) for _ in range(3))
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        body = lambda: torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        line = {"kernel": "attention/flash-2", "card": torch.cuda.get_device_name(), "dtype": "bf16"}
        line |= {"batch": batch, "length": length, "width": 1024}
        print(json.dumps(line | {"ms": round(median_ms(body, True), 4), "warmMs": round(median_ms(body, False), 4)}), flush=True)
