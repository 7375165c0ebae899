"""FlashAttention-2 (torch's SDPA, causal, bf16, 16 heads of 64) timed as the laboratory times: medians with a cold and a warm L2 cache.
`plain=BxL` times the scan as PyTorch has it instead: log-depth, f32, 2048 channels of 16 states, with softplus, D and gate."""

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


def report(kernel, dtype, batch, length, width, times):
    line = {"kernel": kernel, "card": torch.cuda.get_device_name(), "dtype": dtype, "batch": batch, "length": length, "width": width}
    print(json.dumps(line | {name: round(ms, 4) for name, ms in times.items()}), flush=True)


def attention(batch, length):
    q, k, v = (torch.randn(batch, 16, length, 64, device="cuda", dtype=torch.bfloat16) for _ in range(3))
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        body = lambda: torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        runs = 25 if batch * length**2 < 1 << 31 else 5
        report("attention/flash-2", "bf16", batch, length, 1024, {"ms": median_ms(body, True, runs), "warmMs": median_ms(body, False, runs)})


def plain(batch, length, channels=2048, states=16):
    u, dt, z = (torch.randn(batch, length, channels, device="cuda") for _ in range(3))
    B, C = (torch.randn(batch, length, states, device="cuda") for _ in range(2))
    A, D = -torch.rand(channels, states, device="cuda") * 16, torch.ones(channels, device="cuda")

    def body():
        delta = torch.nn.functional.softplus(dt)
        a, h = torch.exp(delta[..., None] * A), (delta * u)[..., None] * B[:, :, None]
        step = 1
        while step < length:
            h = torch.cat([h[:, :step], torch.addcmul(h[:, step:], a[:, step:], h[:, :-step])], 1)
            a = torch.cat([a[:, :step], a[:, step:] * a[:, :-step]], 1)
            step *= 2
        return ((h * C[:, :, None]).sum(-1) + D * u) * torch.nn.functional.silu(z)

    with torch.no_grad():
        report("scan/plain", "f32", batch, length, channels, {"ms": median_ms(body, False, 5)})


for word in sys.argv[1:]:
    shape = word.removeprefix("plain=")
    (attention if shape == word else plain)(*map(int, shape.split("x")))
