"""Files in and out: every format that is read or written. No science, no JAX."""
