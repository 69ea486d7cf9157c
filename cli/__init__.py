"""The `mlx-wan` command: one file per command; parse, call the engine, print."""
