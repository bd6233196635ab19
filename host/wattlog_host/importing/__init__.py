"""Readings of other programs, brought into the store as batches like any agent's."""
