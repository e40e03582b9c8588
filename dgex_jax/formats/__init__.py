"""Expression files in and out: GCTX, GCT and the GEUVADIS table. No science, no JAX."""
