"""The original training, rule by rule."""
