"""Foreign checkpoints in, our model folder out. Nothing else knows foreign layouts."""
