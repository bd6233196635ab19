"""The forms of all answers, as JSON Schema: what the document says and the tests hold them to."""

from typing import Any

Schema = dict[str, Any]

INTEGER: Schema = {"type": "integer"}
NUMBER: Schema = {"type": "number"}
TEXT: Schema = {"type": "string"}
FLAG: Schema = {"type": "boolean"}
SHARE: Schema = {"type": ["number", "null"], "minimum": 0, "maximum": 1}
TIME: Schema = {"type": "integer", "description": "ms since 1970 UTC"}


def maybe(schema: Schema) -> Schema:
    """Return what may be absent, which is null."""
    return {**schema, "type": [schema["type"], "null"]}


def listed(schema: Schema) -> Schema:
    """Return a list of these."""
    return {"type": "array", "items": schema}


def shaped(**properties: Schema) -> Schema:
    """Return an object with just these members, all there."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


ERROR = shaped(error=TEXT)

_FIGURES = {
    "import_kwh": maybe(NUMBER),
    "export_kwh": maybe(NUMBER),
    "estimated_kwh": {**maybe(NUMBER), "description": "how much of it is spread over a silence"},
    "coverage": SHARE,
    "is_partial": FLAG,
    "resets": INTEGER,
    "cost": {**maybe(NUMBER), "description": "with standing charge, less credit for export"},
    "standing_cost": maybe(NUMBER),
    "export_credit": maybe(NUMBER),
    "unpriced_kwh": {**maybe(NUMBER), "description": "import of times without a tariff"},
}
_POWER = {
    "min_power_watts": maybe(NUMBER),
    "max_power_watts": maybe(NUMBER),
    "avg_power_watts": {**maybe(NUMBER), "description": "weighted by time"},
    "count": INTEGER,
}
_ROW = shaped(t=TIME, end=TIME, **_FIGURES)

METERS = shaped(
    meters=listed(
        shaped(
            id=INTEGER, server_id=TEXT, label=TEXT, name=maybe(TEXT), first_ms=TIME, last_ms=TIME,
            channels=listed(
                shaped(
                    key=TEXT, label=TEXT, unit=TEXT, kind={"enum": ["counter", "gauge"]},
                    obis=maybe(TEXT),
                )
            ),
        )
    ),
    zone=TEXT,
    now_ms=TIME,
)  # fmt: skip

_COLUMNS = {
    "meter": maybe(INTEGER),
    "channel": TEXT,
    "unit": TEXT,
    "step_s": INTEGER,
    "start": TIME,
    "end": TIME,
    "t": listed(TIME),
}
_AMOUNTS = listed(maybe(NUMBER))
READINGS: Schema = {
    "oneOf": [
        listed(shaped(t=TIME, p=maybe(NUMBER), e=maybe(NUMBER))),
        shaped(
            **_COLUMNS, min=_AMOUNTS, mean=_AMOUNTS, max=_AMOUNTS, covered=listed(SHARE),
            energy_wh={**_AMOUNTS, "type": ["array", "null"]},
            estimated={**listed(FLAG), "type": ["array", "null"]},
        ),
        shaped(
            **_COLUMNS, first=_AMOUNTS, last=_AMOUNTS, rise=_AMOUNTS, covered=listed(SHARE),
            estimated=listed(FLAG),
        ),
    ]
}  # fmt: skip

ENERGY = shaped(
    zone=TEXT, currency=TEXT, buckets=listed(_ROW), total={"oneOf": [_ROW, {"type": "null"}]}
)
ENERGY_SUMMARY = shaped(
    avg_daily=maybe(NUMBER),
    daily=listed(shaped(t=TIME, kwh=maybe(NUMBER), is_partial=FLAG)),
    moving_avg_30d=listed(shaped(t=TIME, kwh=NUMBER)),
)
STATS = shaped(
    start=TIME,
    end=TIME,
    stats=shaped(
        energy_used_kwh=maybe(NUMBER),
        **_POWER,
        **{key: one for key, one in _FIGURES.items() if key != "import_kwh"},
    ),
)
SUMMARY = shaped(
    currency=TEXT,
    periods={
        "type": "object",
        "additionalProperties": shaped(
            start=TIME,
            end=TIME,
            **_FIGURES,
            typical_kwh=maybe(NUMBER),
            typical_cost=maybe(NUMBER),
            difference_kwh={
                **maybe(NUMBER),
                "description": "null also where much of it was not measured",
            },
        ),
    },
    base_load_w=maybe(NUMBER),
    peaks=listed(shaped(t=TIME, w=NUMBER)),
)
_SIDE = shaped(
    start=TIME,
    end=TIME,
    **_FIGURES,
    min_power_w=maybe(NUMBER),
    avg_power_w=maybe(NUMBER),
    max_power_w=maybe(NUMBER),
    days=NUMBER,
    daily_kwh=maybe(NUMBER),
    daily_cost=maybe(NUMBER),
    curve=shaped(t=listed(INTEGER), w=listed(NUMBER)),
)
COMPARE = shaped(
    currency=TEXT,
    a=_SIDE,
    b=_SIDE,
    difference={
        "type": "object",
        "additionalProperties": shaped(abs=maybe(NUMBER), percent=maybe(NUMBER)),
    },
)
DAYS = shaped(
    currency=TEXT,
    rows=listed(
        shaped(
            date=TEXT, t=TIME, end=TIME, **_FIGURES, typical_kwh=maybe(NUMBER),
            difference_kwh=maybe(NUMBER),
        )
    )
)  # fmt: skip
_WINDOW = shaped(**{"from": TEXT, "to": TEXT, "days": listed(TEXT)}, import_ct_per_kwh=NUMBER)
TARIFFS = shaped(
    currency=TEXT,
    tariffs=listed(
        shaped(
            valid_from=TEXT, valid_to=maybe(TEXT), is_in_effect=FLAG, import_ct_per_kwh=NUMBER,
            export_ct_per_kwh=NUMBER, standing_per_year=NUMBER,
            windows=listed(_WINDOW),
        )
    ),
)  # fmt: skip

LATEST = shaped(
    timestamp=TEXT, meter_id=TEXT, power_watts=maybe(NUMBER), energy_in_kwh=maybe(NUMBER),
    energy_out_kwh=maybe(NUMBER), power_phase_1_watts=maybe(NUMBER),
    power_phase_2_watts=maybe(NUMBER), power_phase_3_watts=maybe(NUMBER), raw_payload=TEXT,
    age_s=NUMBER, time_source=TEXT,
)  # fmt: skip
LIVE_POWER = shaped(t=maybe(TIME), w=maybe(NUMBER), age_s=maybe(NUMBER), stale=FLAG)
GAPS = shaped(
    runs=INTEGER,
    records=INTEGER,
    newest=listed({"type": "object", "required": ["agent", "meters", "reason", "count", "from"]}),
)
ALERTS = shaped(
    standing=listed(
        shaped(
            key=TEXT, kind=TEXT, subject=TEXT, since_ms=TIME, is_urgent=FLAG,
            is_dismissable=FLAG, text=TEXT,
        )
    ),
    messages=listed(shaped(made_ms=TIME, text=TEXT)),
    targets=listed(
        shaped(
            name={**TEXT, "description": "its number and kind; never its address"},
            sent_ms=maybe(TIME), sent=INTEGER, failed=INTEGER, given_up=INTEGER, owed=INTEGER,
            trouble=maybe(TEXT),
        )
    ),
    waiting={**INTEGER, "description": "what will be told after quiet hours, or with the next"},
    is_quiet=FLAG,
)  # fmt: skip
STATUS: Schema = {"type": "object", "required": ["now", "host", "meters", "agents", "events"]}
