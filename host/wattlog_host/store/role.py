"""What a process is to its database: alone with it, or one of several that share the work."""

from enum import Enum


class Role(Enum):
    """Which part of a host's work a process does.

    ALONE   all of it, and nobody else writes
    LEAD    all of it in a cell: pages, buckets, retention, and its share of the batches
    WORKER  a share of the batches and of their buckets
    """

    ALONE = "alone"
    LEAD = "lead"
    WORKER = "worker"
