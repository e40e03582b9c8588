"""The networks and the methods they are compared with."""
