"""The portal's page: what a form means, every mistake at its field, in both languages."""

from wattlog_esp32 import page, settings

GOOD = {
    "wifi.ssid": "home",
    "wifi.password": "secret99",
    "mqtt.host": "192.168.1.20",
    "mqtt.port": "1883",
    "mqtt.username": "cellar",
    "mqtt.password": "pass",
    "meter.rx": "16",
    "meter.tx": "17",
    "meter.uart": "1",
    "agent.id": "cellar",
}


def test_a_good_form_is_good_settings():
    given, wrong = page.read(GOOD, {})
    assert wrong == {}
    checked = settings.check(given, "form")
    assert checked["mqtt.port"] == 1883
    assert checked["meter.invert"] is False
    assert page.read(changed("meter.invert", "1"), {})[0]["meter.invert"] is True


def changed(key, value):
    values = dict(GOOD)
    values[key] = value
    return values


MISTAKES = (
    ("wifi.ssid", "", "missing"),
    ("wifi.ssid", "ü" * 17, "bytes"),
    ("wifi.password", "x" * 64, "bytes"),
    ("mqtt.host", " ", "missing"),
    ("mqtt.port", "0", "range"),
    ("mqtt.port", "65536", "range"),
    ("mqtt.port", "1_0", "number"),
    ("mqtt.port", "0x10", "number"),
    ("mqtt.port", "-1", "number"),
    ("mqtt.port", "99999999999999999999", "number"),
    ("mqtt.username", "u" * 256, "bytes"),
    ("meter.rx", "", "missing"),
    ("meter.rx", "sixteen", "number"),
    ("meter.rx", "49", "range"),
    ("meter.tx", "16", "same"),
    ("meter.uart", "3", "range"),
    ("meter.uart", "0", "console"),
    ("agent.id", "Cellar", "letters"),
    ("agent.id", "k" * 33, "bytes"),
)


def test_a_mistake_is_found_at_its_field_and_said_there():
    for key, value, reason in MISTAKES:
        values = changed(key, value)
        _, wrong = page.read(values, {})
        assert wrong == {key: reason}, (key, value, wrong)
        for tongue in (0, 1):
            text = "".join(page.form(tongue, values, wrong, "wrong", "token", "key", False))
            line = text[text.index('id="%s-e">' % key) :].split("</p>")[0]
            words = page.REASONS[reason][tongue]
            assert words.split("%")[0] in line and "%" not in line, line
            assert text.count('class="bad"') == 1


def test_whatever_the_form_lets_through_the_settings_take():
    for key, value, _ in MISTAKES:
        given, _ = page.read(changed(key, value), {})
        try:
            settings.check(given, "form")
        except settings.ConfigError:
            continue
        assert (key, value) == ("meter.uart", "0"), "only here the console is needed"


def test_all_mistakes_are_told_at_once():
    _, wrong = page.read({}, {})
    assert set(wrong) == {"wifi.ssid", "mqtt.host", "meter.rx", "meter.tx", "agent.id"}


def test_what_the_form_does_not_have_stays():
    known = {"meter.baud": 300, "ntp.host": "clock", "mqtt.username": "old", "mqtt.tls": True}
    values = changed("mqtt.username", "")
    given, _ = page.read(values, known)
    assert (given["meter.baud"], given["ntp.host"], given["mqtt.tls"]) == (300, "clock", True)
    assert "mqtt.username" not in given


def test_an_empty_password_stays_with_what_it_belongs_to():
    known = {"wifi.ssid": "home", "wifi.password": "old", "mqtt.password": "old"}
    assert page.read(changed("wifi.password", ""), known)[0]["wifi.password"] == "old"
    values = changed("wifi.password", "")
    values["wifi.ssid"] = "other"
    assert "wifi.password" not in page.read(values, known)[0]
    assert "mqtt.password" not in page.read(changed("mqtt.password", ""), known)[0]


def test_no_password_is_shown_of_what_is_known():
    values = page.values_of({"wifi.ssid": "home", "wifi.password": "old", "meter.invert": True})
    assert values == {"wifi.ssid": "home", "meter.invert": "1"}


def test_everything_is_escaped():
    nasty = "<script>'\"&"
    values = {field[0]: nasty for field in page.FIELDS}
    for tongue in (0, 1):
        text = "".join(page.form(tongue, values, {"wifi.ssid": nasty}, "", "t", nasty, True))
        assert "<script" not in text
        assert text.count("&lt;script&gt;&#39;&quot;&amp;") >= len(page.FIELDS)
        assert "<script" not in "".join(page.frames(tongue, (1, 2, 3, nasty)))


def test_nothing_is_loaded_from_elsewhere_and_nothing_runs():
    text = "".join(page.form(0, {}, {}, "", "t", "k", True))
    for word in ("http://", "https://", "<script", "onclick", "url("):
        assert word not in text, word
    assert 'name="viewport"' in text


def test_the_language_is_the_first_that_we_speak():
    rows = (
        (b"", 0),
        (b"de", 1),
        (b"de-AT,de;q=0.9,en;q=0.8", 1),
        (b"fr-FR, fr;q=0.9, DE;q=0.5", 1),
        (b"en-US,en;q=0.9,de;q=0.8", 0),
        (b"fr", 0),
        (b",;,-", 0),
    )
    for header, tongue in rows:
        assert page.language(header) == tongue, header


def test_the_tables_are_whole():
    rows = {row[0]: row for row in settings.KEYS}
    for key, kind, *labels in page.FIELDS:
        assert key in rows
        assert len(labels) == 2
        wanted = {"number": int, "checkbox": bool}.get(kind, str)
        assert rows[key][1] is wanted, key
    named = {field[0] for field in page.FIELDS}
    needed = {row[0] for row in settings.KEYS if len(row) == 4}
    assert needed <= named, "what is needed must be asked for"
    for table in (page.WORDS, page.REASONS, page.GROUPS):
        for name in table:
            assert len(table[name]) == 2
            assert table[name][0].count("%d") == table[name][1].count("%d"), name


def test_counts_are_shown_in_both_languages():
    seen = (512, 2, 4, None)
    assert "512 bytes, 2 frames in 4 s" in "".join(page.frames(0, seen))
    assert "Der Zähler wird gelesen." in "".join(page.frames(1, seen))
    assert "Nobody looks" in "".join(page.frames(0, None))
    text = "no byte comes: is the head on the LED, the right way up?"
    assert "Kein Byte kommt" in "".join(page.frames(1, (0, 0, 12, text)))


def test_a_mistake_that_only_the_settings_know_is_shown_in_their_words():
    assert page._placed(": meter.tx: pin 17 is taken by led.pin") == {
        "meter.tx": "pin 17 is taken by led.pin"
    }
    assert page._placed(": ntp.host must have 1 to 255 bytes") == {
        "agent.id": "ntp.host must have 1 to 255 bytes"
    }
