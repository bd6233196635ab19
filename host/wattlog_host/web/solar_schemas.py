"""The forms of the answers of /api/solar, as JSON Schema; see schemas.py."""

from wattlog_host.web.schemas import (
    FLAG,
    INTEGER,
    NUMBER,
    SHARE,
    TEXT,
    TIME,
    Schema,
    listed,
    maybe,
    shaped,
)

MOMENT: Schema = {**TEXT, "description": "ISO-8601 with offset"}
VALUE: Schema = {"type": ["number", "string", "null"]}
_COUNTS: Schema = {"type": "object", "additionalProperties": INTEGER}
_POWERS = {"solar": maybe(NUMBER), "grid": maybe(NUMBER), "battery": maybe(NUMBER)}

STATUS = shaped(
    state={"enum": ["starting", "ok", "trouble", "login", "busy", "stopped"]},
    trouble=maybe(TEXT),
    since=maybe(MOMENT),
    last_cycle=maybe(MOMENT),
    last_cycle_calls=INTEGER,
    next_cycle_in_s=maybe(NUMBER),
    plants=listed(shaped(pid=TEXT, name=TEXT, status=TEXT)),
    devices=INTEGER,
    counts=_COUNTS,
    client_counts=_COUNTS,
    time=MOMENT,
)

_DEVICE = {
    "device": {**TEXT, "description": "its key: what device= takes"},
    "name": TEXT,
    "alias": maybe(TEXT),
    "plant": TEXT,
    "collector": TEXT,
    "devcode": INTEGER,
    "firmware": maybe(TEXT),
    "signal": maybe(NUMBER),
    "status": TEXT,
    "connected": FLAG,
    "stale": {**FLAG, "description": "what is shown is older than it should be"},
    "record_time": maybe(MOMENT),
    "age_s": maybe(NUMBER),
    "time_source": {"enum": ["device", "arrival"]},
    "trouble": maybe(TEXT),
    "mode": maybe(TEXT),
    "mode_class": maybe(TEXT),
    "power_w": shaped(**_POWERS, load=maybe(NUMBER)),
    "battery": shaped(direction=maybe(TEXT), soc_percent=maybe(NUMBER)),
}
DEVICES = shaped(devices=listed(shaped(**_DEVICE)))
_READING = {
    "channel": TEXT,
    "label": TEXT,
    "value": VALUE,
    "unit": maybe(TEXT),
    "class": maybe(TEXT),
    "device_class": maybe(TEXT),
    "state_class": maybe(TEXT),
    "diagnostic": FLAG,
    "generic": FLAG,
    "time": MOMENT,
    "age_s": NUMBER,
}
LATEST = shaped(
    **_DEVICE,
    readings=listed(
        {
            **shaped(**_READING),
            "properties": {
                **_READING,
                "total": {**maybe(NUMBER), "description": "of a counter, over all its resets"},
                "resets": INTEGER,
            },
        }
    ),
)
HISTORY = shaped(
    device=TEXT,
    channel=TEXT,
    unit=maybe(TEXT),
    points=listed(
        {"type": "array", "prefixItems": [TIME, VALUE], "minItems": 2, "maxItems": 2},
    ),
)
CHANGES = shaped(
    changes=listed(
        shaped(
            time_ms=TIME, event=TEXT, before=maybe(TEXT), wanted=maybe(TEXT), device=TEXT,
            id=TEXT, name=TEXT, by=TEXT,
        )
        # What was asked has no outcome yet.
        | {"additionalProperties": maybe(TEXT)}
    )
)  # fmt: skip

_CONTROL = {
    "id": TEXT,
    "name": TEXT,
    "kind": {"enum": ["select", "number", "button"]},
    "unit": maybe(TEXT),
    "options": {"type": "object", "additionalProperties": TEXT},
    "ranges": listed(listed(NUMBER)),
    "step": maybe(NUMBER),
}
_ONE = shaped(**_CONTROL, value=maybe(TEXT))
SETTINGS: Schema = {
    "oneOf": [
        shaped(settings=listed(shaped(**_CONTROL))),
        {
            **_ONE,
            "properties": {
                **_CONTROL,
                "value": maybe(TEXT),
                "range": {**listed(NUMBER), "type": ["array", "null"]},
            },
        },
    ]
}
WISH = shaped(device=TEXT, id=TEXT, value=TEXT)
CHANGED = shaped(
    outcome={"enum": ["confirmed", "accepted", "refused", "differs", "unknown"]},
    before=maybe(TEXT),
    wanted=TEXT,
    after=maybe(TEXT),
    text=TEXT,
)

_ENERGY = maybe(NUMBER)
_ROW = shaped(
    t=TIME, end=TIME, known=SHARE, production_kwh=_ENERGY, consumption_kwh=_ENERGY,
    import_kwh=_ENERGY, export_kwh=_ENERGY, charged_kwh=_ENERGY, discharged_kwh=_ENERGY,
    self_consumption=maybe(NUMBER), autarky=maybe(NUMBER), trouble=maybe(TEXT),
    to_house_kwh=_ENERGY, to_battery_kwh=_ENERGY, from_solar_kwh=_ENERGY,
    from_battery_kwh=_ENERGY, from_grid_kwh=_ENERGY,
)  # fmt: skip
HOUSE = shaped(per=TEXT, rows=listed(_ROW), total=_ROW)
PERIODS = shaped(periods=shaped(day=_ROW, week=_ROW, month=_ROW, year=_ROW))
FLOW = shaped(
    now=TIME,
    t=maybe(TIME),
    age_s=maybe(NUMBER),
    stale=FLAG,
    missing={**listed(TEXT), "description": "what does not tell enough to know all powers"},
    has_battery=FLAG,
    power_w=shaped(**_POWERS, house=maybe(NUMBER)),
    soc_percent=maybe(NUMBER),
    flows_w={
        "type": ["object", "null"],
        "additionalProperties": maybe(NUMBER),
        "description": "who feeds whom, like solar_to_house",
    },
)
