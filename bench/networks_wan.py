"""The transformer for bench/networks.py: Wan's architecture at dim 768, one forward at B = 1."""
