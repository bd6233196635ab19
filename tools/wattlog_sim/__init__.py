"""Fakes that lie on purpose: a meter that writes SML, and the house behind it."""
