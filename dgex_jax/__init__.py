"""D-GEX in JAX: infer target genes from landmark genes (Chen et al. 2016)."""

__version__ = "0.1.0"
