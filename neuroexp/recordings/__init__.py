"""Readers and simulators, one per file: each has `read(...) -> Recording`."""
