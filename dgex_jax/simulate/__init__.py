"""Simulated raw files in the real formats, made from a seed: a mechanism, not a result.

What is modelled is how such data come about; which method predicts them best is not looked at.
Cells are in one of several tissue-like states and run continuous programmes, and regulator
activities drive genes through saturating, interacting promoters (`biology`); a microarray with
probe affinities, background and saturation, or sequencing with gene lengths and library sizes,
turns true abundance into the numbers of a file (`platforms`); deposits come in series, some of
them twice. Strengths were set by summary statistics of real files (docs/simulator.md lists them);
no network was trained on simulated data, and no two methods were compared meanwhile.
"""
