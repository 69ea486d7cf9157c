"""How wan-mini is made: procedural clips, captions, training, probe, export.

In order: `dataset` (clips, tokenizer), `train_vae`, `encode`, `train_dit`, `train_experts`,
`train_probe`, `evaluate`, `export`; each is one command, seeded and resumable (weights/README.md).
"""
