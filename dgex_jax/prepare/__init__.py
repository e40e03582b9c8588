"""Raw files to one prepared study. No JAX."""
