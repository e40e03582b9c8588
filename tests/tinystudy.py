"""A simulated study that takes a second to prepare, for tests of whole studies."""

from __future__ import annotations

SIMULATE = """
seed = 3
n_profiles = 150
n_gtex = 20
n_1000g = 14
n_landmarks = 12
n_targets = 31
missing_landmarks = 1
missing_targets = 2
n_other_genes = 10
extra_probes = 20
shared_targets = 0.1
n_tissues = 4
n_regulators = 8
n_programmes = 4
array_noise = 0.4"""
"""The section ``[simulate]`` of its file."""
