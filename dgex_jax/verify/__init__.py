"""Whether outputs are what was written, and whether what they were made of is still the same."""
