"""Stands in for `mlx_wan.bench.ab.child` in tests: the prompt says how the run goes.

Imports nothing of ours, so that a run takes as long as Python takes to start.
"""

import json
import os
import sys
import time
from pathlib import Path

folder = Path(sys.argv[1])
plan = json.loads((folder / "job.json").read_text())
prompt = plan["prompt"]
steps = plan["steps"]
if "CRASH" in prompt:
    os.kill(os.getpid(), 9)
if "HANG" in prompt:
    time.sleep(600)
if "EXIT" in prompt:
    print("the last words")
    sys.exit(3)
if "SILENT" in prompt:
    sys.exit(0)
if "GARBAGE" in prompt:
    (folder / "result.json").write_text("{not json")
    sys.exit(0)
(folder / "video.mp4").write_bytes(f"{prompt} {plan['seed']} {steps}".encode())
if "ERROR" in prompt:
    (folder / "result.json").write_text(json.dumps({"error": "NaN or infinite latents at step 2"}))
    sys.exit(1)
(folder / "latents.npy").write_bytes(b"latents")
told = {
    "video": "video.mp4",
    "latents": "latents.npy",
    "seconds": {"encode": 0.1, "denoise": 0.5 * steps, "decode": 0.2, "save": 0.1},
    "seconds_per_step": 0.5,
    "step_seconds": [0.5] * steps,
    "peak_memory": {"encode": 1000, "denoise": 2000, "decode": 1500},
    "peak_rss": 5000,
    "bytes_on_disk": 99,
    "work": {"tokens": plan["tokens"], "flops": plan["flops"]},
    "hashes": {"latents": "00"},
    "health": "ok",
}
(folder / "result.json").write_text(json.dumps(told))
