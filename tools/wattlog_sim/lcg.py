"""Small pseudo-random numbers, the same on both interpreters; two numbers replay a sequence."""


class Lcg:
    """A sequence of its own for each pair of numbers."""

    def __init__(self, seed: int, index: int) -> None:
        """Start it; neighbouring pairs give sequences that do not resemble each other."""
        state = (seed * 0x9E3779B1 + index * 0x85EBCA6B + 1) & 0xFFFF_FFFF
        # Neighbours must not resemble each other; an LCG alone would keep their distance.
        state = (state ^ state >> 16) * 0x7FEB352D & 0xFFFF_FFFF
        state = (state ^ state >> 15) * 0x846CA68B & 0xFFFF_FFFF
        self._state = state ^ state >> 16

    def below(self, limit: int) -> int:
        """Return a number from 0 to limit - 1."""
        assert 0 < limit <= 1 << 16
        self._state = (self._state * 1_664_525 + 1_013_904_223) & 0xFFFF_FFFF
        return (self._state >> 16) * limit >> 16
