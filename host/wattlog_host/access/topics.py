"""Which topic belongs to whom: one table for the embedded broker and for recipes of others.

Formats and directions are those of agent/SPEC.md.
"""

from collections.abc import Sequence
from typing import NamedTuple

from wattlog_host.bounds import is_edge

ROOT = "wattlog/1"
ANY = "+"


class Role(NamedTuple):
    """What somebody may do at the broker; writes and reads are the last levels of topics.

    is_of_all   whether with the topics of every edge, or only with those of its own name
    writes_all  where this is a text: and it writes every topic that does not begin so
    reads_all   the same of reading
    """

    name: str
    about: str
    writes: tuple[str, ...]
    reads: tuple[str, ...]
    is_of_all: bool
    writes_all: str | None = None
    reads_all: str | None = None

    def filters(self, leaves: Sequence[str], name: str) -> list[str]:
        """Return the topics of these leaves as MQTT writes them, name being who asks."""
        return [f"{ROOT}/{ANY if self.is_of_all else name}/{leaf}" for leaf in leaves]

    def may_write(self, name: str, topic: str) -> bool:
        """Tell whether one with this name may publish there, last will included."""
        if self.writes_all is not None and not topic.startswith(self.writes_all):
            return True
        edge, leaf = _parts(topic)
        return leaf in self.writes and (edge == name or self.is_of_all) and is_edge(edge)

    def may_read(self, name: str, topic: str) -> bool:
        """Tell whether one with this name may subscribe there, or get what was published.

        A filter of many topics may be subscribed to; each message is looked at again.
        """
        if self.reads_all is not None and not topic.startswith(self.reads_all):
            return True
        edge, leaf = _parts(topic)
        if leaf not in self.reads:
            return False
        return (self.is_of_all and edge == ANY) or (
            (edge == name or self.is_of_all) and is_edge(edge)
        )


AGENT = Role(
    "agent", "sends the readings of its meters", ("b", "s", "l", "u", "r"), ("a", "s", "c"), False
)
TOOL = Role("tool", "wattlog-tools head, pin", ("c",), ("s", "r"), True)
# What agents and host say to each other is nobody's else; what the host tells others is its own.
PROGRAM = Role("program", "Home Assistant and others", (), (), False, "wattlog/", f"{ROOT}/")
HOST = Role("host", "this host", ("a", "c"), ("b", "s", "l", "u"), True, f"{ROOT}/", f"{ROOT}/")
DEVICE_ROLES = {role.name: role for role in (AGENT, TOOL, PROGRAM)}


def _parts(topic: str) -> tuple[str | None, str]:
    """Return edge and leaf of a topic of ours, None for any other's edge."""
    head, _, leaf = topic.rpartition("/")
    root, _, edge = head.rpartition("/")
    return (edge if root == ROOT else None), leaf
