"""A trained model on disk, and its use on files that are not of the study."""
