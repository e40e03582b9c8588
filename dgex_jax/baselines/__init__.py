"""The methods the networks are compared with."""
