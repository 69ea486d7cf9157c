"""How wan-mini is made: procedural clips, captions, training, probe, export.

In order: `encode` (renders the data set, stores latents), `train_joint`, `train_experts`, `export`,
`probe`, `evaluate`, and `train_vae` for a new VAE; each is one command, seeded and resumable
(weights/README.md).
"""

import os

# Before MLX loads it: networks this small are 10 times slower with threads on a busy machine.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
