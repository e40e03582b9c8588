"""The same work in other software, to compare with."""
