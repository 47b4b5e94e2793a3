"""Measurements of the project's marks, each beside its peer in the same run: `make bench`."""
