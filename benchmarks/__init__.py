"""Measurements that stand in the README, each with its command: ``python -m benchmarks.all``."""
