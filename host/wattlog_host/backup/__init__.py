"""Copies of the database: made while it is in use, verified, kept in rotation, and put back."""
