"""Every mistake in a configuration is one line: file, line, key, and what would be right."""

import tomllib

import pytest

from wattlog.config import REQUIRED, ConfigError, Key, line_of, parse

SCHEMA = (
    Key("data", "text", None, 1, 20, "the folder for the database"),
    Key("agent.id", "text", REQUIRED, 1, 8, "the agent's own name"),
    Key("agent.speed", ("slow", "fast"), "slow", None, None, "how fast it goes"),
    Key("mqtt.port", "integer", 1883, 1, 65535, "the broker's TCP port"),
    Key("mqtt.tls", "boolean", False, None, None, "whether to use TLS"),
    Key("meter[].port", "text", REQUIRED, 1, None, "the serial port"),
    Key("meter[].baud", "integer", 9600, 300, None, "the speed"),
)

GOOD = """
data = "here"
[agent]
id = "cellar"
[mqtt]
port = 8883
tls = true
[[meter]]
port = "/dev/ttyUSB0"
[[meter]]
port = "/dev/ttyUSB1"
baud = 300
"""


def read(text):
    return parse("x.toml", text, tomllib.loads, SCHEMA)


def test_a_good_text_with_its_defaults():
    assert read(GOOD) == {
        "data": "here",
        "agent": {"id": "cellar", "speed": "slow"},
        "mqtt": {"port": 8883, "tls": True},
        "meter": [
            {"port": "/dev/ttyUSB0", "baud": 9600},
            {"port": "/dev/ttyUSB1", "baud": 300},
        ],
    }


def test_what_is_absent_has_its_default():
    assert read('agent.id = "x"') == {
        "data": None,
        "agent": {"id": "x", "speed": "slow"},
        "mqtt": {"port": 1883, "tls": False},
        "meter": [],
    }


MISTAKES = [
    ("a typo in a key", "prot = 8883", "port = 8883", "line 6: unknown key mqtt.prot; did you mean port?"),
    ("an unknown key", "colour = 1", "port = 8883", "line 6: unknown key mqtt.colour; known here: port, tls"),
    ("an unknown table", "[mqqt]", "[mqtt]", "line 5: unknown key mqqt"),
    ("a text for a number", 'port = "8883"', "port = 8883", "line 6: mqtt.port must be a whole number, not '8883'; it is the broker's TCP port"),
    ("a boolean for a number", "port = true", "port = 8883", "line 6: mqtt.port must be a whole number, not True"),
    ("a number for a boolean", "tls = 1", "tls = true", "line 7: mqtt.tls must be true or false, not 1"),
    ("a number for a text", "id = 5", 'id = "cellar"', 'line 4: agent.id must be a text in quotes, like "...", not 5'),
    ("a number out of range", "port = 70000", "port = 8883", "line 6: mqtt.port must be 1 to 65535, not 70000"),
    ("a number below an open range", "baud = 3", "baud = 300", "line 12: baud (in [[meter]] number 2) must be at least 300, not 3"),
    ("a text too long", 'id = "cellar-of-the-house"', 'id = "cellar"', "line 4: agent.id must have 1 to 8 characters"),
    ("an empty text", 'id = ""', 'id = "cellar"', "line 4: agent.id must have 1 to 8 characters"),
    ("a wrong choice", 'id = "cellar"\nspeed = "warp"', 'id = "cellar"', 'line 5: agent.speed must be one of "slow", "fast", not \'warp\''),
    ("a key in the wrong list row", "bort = 1", 'port = "/dev/ttyUSB1"', "line 11: unknown key bort (in [[meter]] number 2); did you mean port?"),
    ("a missing key in a list row", "", 'port = "/dev/ttyUSB1"', "line 10: port (in [[meter]] number 2) is missing: it is the serial port"),
    ("a missing key", "", 'id = "cellar"', "line 3: agent.id is missing: it is the agent's own name"),
    ("a single table for a list", "[meter]", '[[meter]]\nport = "/dev/ttyUSB0"\n[[meter]]', "line 8: meter must be a list of tables: write [[meter]]"),
    ("a value for a table", "agent = 5\n[x]", "[agent]", "line 3: agent must be a table: write [agent]"),
    ("a table for a value", "[data]", 'data = "here"', "line 2: data must be a text"),
    ("a key with a bracket", '"x[y" = 1', "port = 8883", "line 6: unknown key mqtt.x[y"),
    ("a key that looks like a row", '"port[0]" = 1', "port = 8883", "unknown key mqtt.port[0]"),
    ("a key of two lines", '"a\\nb" = 1', "port = 8883", "unknown key mqtt.a?b"),
    ("a control character", 'id = "a\\u0000b"', 'id = "cellar"', "agent.id must not hold control characters"),
    ("a very long value", f'id = "{"x" * 100_000}"', 'id = "cellar"', "xxx..."),
    ("deep nesting", "x = " + "[" * 3000, "port = 8883", "not valid TOML: nested too deep"),
    ("broken TOML", "port = ", "port = 8883", "not valid TOML"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("wrong", "right", "wanted"), [m[1:] for m in MISTAKES], ids=[m[0] for m in MISTAKES]
)
def test_a_mistake_is_named(wrong, right, wanted):
    assert right in GOOD
    with pytest.raises(ConfigError) as caught:
        read(GOOD.replace(right, wrong))
    text = str(caught.value)
    assert text.startswith("x.toml")
    assert wanted in text
    assert "\n" not in text
    assert len(text) < 600


def test_a_missing_table_has_no_line():
    with pytest.raises(ConfigError, match=r"^x\.toml: agent\.id is missing"):
        read("")


def test_lines_of_keys_in_any_spelling():
    text = '# a = 1\na = 1\n[b]\n"c" = 2\nd.e = 3\n[f.g]\nh = 4\n'
    for path, line in (
        ("a", 2),
        ("b.c", 4),
        ("b.d.e", 5),
        ("f.g.h", 7),
        ("b", 3),
        ("f", 6),
        ("z", None),
    ):
        assert line_of(text, path) == line, path
