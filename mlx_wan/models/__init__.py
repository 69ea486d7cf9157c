"""The networks, one file each, in upstream names and order of operations."""
