"""The topics in plain text; what agents and host say to each other is below wattlog/1."""

HOST = "wattlog/host/availability"
ALL = ("wattlog/host/#", "wattlog/meter/#", "wattlog/agent/#", "wattlog/inverter/#", "tele/#")
"""All but Home Assistant's discovery."""
ONLINE = b"online"
OFFLINE = b"offline"


def meter(server_id: bytes) -> str:
    """Return where a meter's newest reading is, as JSON."""
    return f"wattlog/meter/{server_id.hex()}"


def meter_availability(server_id: bytes) -> str:
    """Return where it says whether that reading is news."""
    return f"{meter(server_id)}/availability"


def agent(edge: str) -> str:
    """Return where an agent's state is, as JSON."""
    return f"wattlog/agent/{edge}"


def agent_availability(edge: str) -> str:
    """Return where it says whether the agent is connected."""
    return f"{agent(edge)}/availability"


def inverter(name: str) -> str:
    """Return where an inverter's newest readings are, as JSON; name may stand in topics."""
    return f"wattlog/inverter/{name}"


def inverter_availability(name: str) -> str:
    """Return where it says whether those readings are news."""
    return f"{inverter(name)}/availability"


def tasmota(name: str, leaf: str) -> str:
    """Return a topic as Tasmota has it: SENSOR or LWT."""
    return f"tele/{name}/{leaf}"
