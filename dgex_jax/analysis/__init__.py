"""Errors and what is read from them."""
