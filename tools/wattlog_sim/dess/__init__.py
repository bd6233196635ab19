"""A solar cloud and the inverters behind it; only for CPython."""
