"""Scripts that regenerate the tables and figures of the paper."""
