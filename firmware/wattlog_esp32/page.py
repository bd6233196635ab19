"""The setup portal's one page: its form, what it says, and what a filled-in form means."""

from wattlog_esp32 import settings
from wattlog_esp32.partial import mistake

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    Values = dict[str, str]
    Mistakes = dict[str, str]

LANGUAGES = (b"en", b"de")

# Of the head as the form has it; a key of settings.KEYS, its kind, its label in each language.
FIELDS = (
    ("wifi.ssid", "text", "Wi-Fi name", "WLAN-Name"),
    ("wifi.password", "password", "Wi-Fi password", "WLAN-Passwort"),
    ("mqtt.host", "text", "Broker address", "Adresse des Brokers"),
    ("mqtt.port", "number", "Broker port", "Port des Brokers"),
    ("mqtt.username", "text", "User name at the broker", "Benutzername am Broker"),
    ("mqtt.password", "password", "Password at the broker", "Passwort am Broker"),
    ("meter.rx", "number", "Pin that hears the meter (rx)", "Pin, der den Zähler hört (rx)"),
    ("meter.tx", "number", "Pin towards the meter (tx)", "Pin zum Zähler (tx)"),
    ("meter.uart", "number", "UART", "UART"),
    ("meter.invert", "checkbox", "Signal is inverted", "Signal ist invertiert"),
    ("agent.id", "text", "Name of this head", "Name dieses Lesekopfs"),
)
# The first field of each group, and the group's title.
GROUPS = {
    "wifi.ssid": ("Wi-Fi", "WLAN"),
    "mqtt.host": ("MQTT broker", "MQTT-Broker"),
    "meter.rx": ("Meter", "Zähler"),
    "agent.id": ("This head", "Dieser Lesekopf"),
}
WORDS = {
    "title": ("Set up the IR head", "Lesekopf einrichten"),
    "key": ("Key of this head", "Schlüssel dieses Lesekopfs"),
    "key_hint": (
        "The Wi-Fi password of this head, as its serial port says it.",
        "Das WLAN-Passwort dieses Lesekopfs, wie es am seriellen Anschluss steht.",
    ),
    "kept": ("Empty: what is known stays.", "Leer: was bekannt ist, bleibt."),
    "look": ("Do I see frames?", "Kommen Telegramme?"),
    "save": ("Save and restart", "Speichern und neu starten"),
    "saved": (
        "Saved. The head restarts and joins your Wi-Fi.",
        "Gespeichert. Der Lesekopf startet neu und verbindet sich mit dem WLAN.",
    ),
    "wrong": ("Nothing was saved yet.", "Noch wurde nichts gespeichert."),
    "stale": (
        "This form was old. Look at it and press again.",
        "Dieses Formular war alt. Bitte prüfen und noch einmal drücken.",
    ),
    "flash": ("The flash could not be written.", "Der Flash ließ sich nicht beschreiben."),
    "counts": ("%d bytes, %d frames in %d s", "%d Bytes, %d Telegramme in %d s"),
    "fine": ("The meter is being read.", "Der Zähler wird gelesen."),
    "wait": ("Waiting for the meter ...", "Warte auf den Zähler ..."),
    "idle": ("Nobody looks at the meter.", "Niemand hört auf den Zähler."),
}
# What may be wrong with a field.
REASONS = {
    "missing": ("This is needed.", "Das wird gebraucht."),
    "text": ("This must be a text.", "Das muss ein Text sein."),
    "number": ("This must be a whole number.", "Das muss eine ganze Zahl sein."),
    "bool": ("This must be yes or no.", "Das muss ja oder nein sein."),
    "bytes": ("%d to %d characters; one that is not plain counts as two or more.",
              "%d bis %d Zeichen; Umlaute zählen doppelt."),
    "range": ("This must be %d to %d.", "Das muss %d bis %d sein."),
    "letters": ("Only a-z, 0-9, _ and -.", "Nur a-z, 0-9, _ und -."),
    "same": ("This is the same pin as rx.", "Das ist derselbe Pin wie rx."),
    "console": ("UART 0 is the serial port.", "UART 0 ist der serielle Anschluss."),
    "pin": ("UART and pins do not go together on this chip.",
            "UART und Pins passen bei diesem Chip nicht zusammen."),
    "key": ("This is not the key of this head.", "Das ist nicht der Schlüssel."),
}  # fmt: skip
# The core's diagnosis in German.
GERMAN = {
    "the port is not raw: it swallows bytes, so no frame ends": (
        "Der Anschluss verschluckt Bytes, kein Telegramm wird fertig."
    ),
    "every second byte is missing: does another program read this port?": (
        "Jedes zweite Byte fehlt: Liest noch ein Programm mit?"
    ),
    "frames come damaged: is it 8N1, not inverted, too much light?": (
        "Telegramme kommen beschädigt an: Signal invertiert, zu viel Licht?"
    ),
    "the meter speaks ASCII (D0, 7E1), not SML: can it be switched?": (
        "Der Zähler spricht ASCII (D0, 7E1), nicht SML: Lässt er sich umschalten?"
    ),
    "bytes come, but no SML: head straight, speed right, too much light?": (
        "Bytes kommen, aber kein SML: Sitzt der Kopf gerade, zu viel Licht?"
    ),
    "no byte comes: is the head on the LED, the right way up?": (
        "Kein Byte kommt: Sitzt der Kopf auf der LED, richtig herum?"
    ),
}

_STYLE = (
    ":root{color-scheme:light dark}"
    "body{font:1.05rem/1.45 system-ui,sans-serif;margin:0 auto;max-width:32rem;padding:1rem}"
    "h1{font-size:1.4rem;margin:.2rem 0 1rem}"
    "fieldset{border:1px solid #8886;border-radius:.6rem;margin:0 0 1rem;"
    "padding:.3rem .9rem .9rem}"
    "legend{font-weight:600;padding:0 .4rem}"
    "label{display:block;margin:.7rem 0 .2rem}"
    "input{box-sizing:border-box;font:inherit;padding:.6rem;width:100%;border:1px solid #888;"
    "border-radius:.4rem}"
    "input[type=checkbox]{width:1.4rem;height:1.4rem;vertical-align:middle;margin:0 .5rem 0 0}"
    "button{font:inherit;font-weight:600;padding:.8rem;width:100%;margin:.3rem 0;"
    "border:1px solid #888;border-radius:.4rem}"
    "button[value=save]{background:#0a5;border-color:#0a5;color:#000}"
    "input.bad{border:2px solid #d33}"
    ".e{font-weight:600;margin:.2rem 0;border-left:4px solid #d33;padding-left:.5rem}"
    ".h{font-size:.9rem;margin:.2rem 0;opacity:.8}"
    "iframe{box-sizing:border-box;border:1px solid #8886;border-radius:.6rem;width:100%;"
    "height:5.5rem}"
)  # fmt: skip


def language(header: bytes) -> int:
    """Return the index of the first language of an Accept-Language header that we speak."""
    # Browsers list the best one first; the weights behind it say the same again.
    for word in header.lower().split(b","):
        code = word.split(b";")[0].strip().split(b"-")[0]
        if code in LANGUAGES:
            return LANGUAGES.index(code)
    return 0


def escaped(text: str) -> str:
    """Return text as it may stand in the page, in quotes too."""
    for letter, name in (("&", "amp"), ("<", "lt"), (">", "gt"), ('"', "quot"), ("'", "#39")):
        text = text.replace(letter, "&" + name + ";")
    return text


def head(tongue: int, extra: str = "") -> "Iterator[str]":
    """Give the beginning of a page."""
    yield (
        '<!DOCTYPE html><html lang="%s"><head><meta charset="utf-8">' % LANGUAGES[tongue].decode()
    )
    yield '<meta name="viewport" content="width=device-width,initial-scale=1">'
    yield extra + '<link rel="icon" href="data:,"><title>wattlog</title><style>'
    yield _STYLE + "</style></head><body>"


def form(
    tongue: int,
    values: "Values",
    mistakes: "Mistakes",
    message: str,
    token: str,
    key: str,
    looks: bool,
) -> "Iterator[str]":
    """Give the page with the form, in pieces.

    values    what stands in the fields; mistakes: what is wrong with them, keys of REASONS
    message   a key of WORDS, "" for none
    token     makes this form good for one press
    key       what stands in the field for it
    looks     whether the meter's frames are shown
    """
    yield from head(tongue)
    yield "<h1>" + WORDS["title"][tongue] + "</h1>"
    if message:
        yield '<p class="e" role="alert">%s</p>' % WORDS[message][tongue]
    yield '<form method="post" action="/"><input type="hidden" name="token" value="%s">' % token
    yield "<fieldset>"
    yield from _field("key", "text", WORDS["key"][tongue], key, _wrong("key", mistakes, tongue))
    yield '<p class="h">%s</p>' % WORDS["key_hint"][tongue]
    for field in FIELDS:
        if field[0] in GROUPS:
            yield "</fieldset><fieldset><legend>%s</legend>" % GROUPS[field[0]][tongue]
        value = values.get(field[0], "")
        wrong = _wrong(field[0], mistakes, tongue)
        yield from _field(field[0], field[1], field[2 + tongue], value, wrong)
        if field[0] == "meter.invert":
            # The answer's page then opens here, and not at its top.
            yield (
                '<button id="look" name="act" value="look" formaction="/#look">%s</button>'
                % (WORDS["look"][tongue])
            )
            if looks:
                yield '<iframe title="%s" src="/frames?key=%s"></iframe>' % (
                    (WORDS["look"][tongue], escaped(key))
                )
    yield '</fieldset><button name="act" value="save">%s</button>' % WORDS["save"][tongue]
    yield "</form></body></html>"


def saved(tongue: int) -> "Iterator[str]":
    """Give the page after a good form."""
    yield from head(tongue)
    yield "<h1>wattlog</h1><p>%s</p></body></html>" % WORDS["saved"][tongue]


def frames(tongue: int, seen: "tuple[int, int, int, str | None] | None") -> "Iterator[str]":
    """Give what comes from the meter; the browser asks again every two seconds.

    seen  bytes, frames, for how many s, the diagnosis; None where nobody looks
    """
    yield from head(tongue, '<meta http-equiv="refresh" content="2">')
    if seen is None:
        yield WORDS["idle"][tongue]
    else:
        text = seen[3]
        if text is None:
            text = WORDS["fine" if seen[1] else "wait"][tongue]
        elif tongue:
            text = GERMAN.get(text, text)
        yield "<b>%s</b><br>%s" % (WORDS["counts"][tongue] % seen[:3], escaped(text))
    yield "</body></html>"


def values_of(known: "dict[str, Any]") -> "Values":
    """Return what settings look like in the form, without passwords."""
    out: Values = {}
    for key, kind, *_ in FIELDS:
        if kind != "password" and known.get(key) is not None:
            out[key] = ("1" if known[key] else "") if kind == "checkbox" else str(known[key])
    return out


def read(values: "Values", known: "dict[str, Any]") -> "tuple[dict[str, Any], Mistakes]":
    """Return the settings that a form means, and what is wrong with them by field.

    known  what was known before: of keys that the form does not have, and the passwords where
           they are left empty and what they belong to is the same
    """
    given = {key: known[key] for key in known}
    for key, kind, *_ in FIELDS:
        text = values.get(key, "")
        if kind == "checkbox":
            given[key] = bool(text)
        elif kind == "password":
            owner = "wifi.ssid" if key == "wifi.password" else "mqtt.username"
            if text or values.get(owner, "") != (known.get(owner) or ""):
                _put(given, key, text)
        else:
            text = text.strip()
            number = _number(text) if kind == "number" else None
            _put(given, key, text if number is None else number)
    return given, _mistakes(given)


def _mistakes(given: "dict[str, Any]") -> "Mistakes":
    wrong: Mistakes = {}
    for row in settings.KEYS:
        reason = mistake(row, given)
        if reason:
            wrong[row[0]] = reason
    if "meter.tx" not in wrong and given.get("meter.tx") == given.get("meter.rx"):
        wrong["meter.tx"] = "same"
    if given.get("meter.uart") == 0 and "meter.uart" not in wrong:
        wrong["meter.uart"] = "console"
    if not wrong:
        try:
            settings.check(given, "")
        except settings.ConfigError as err:
            wrong.update(_placed(str(err)))
    return wrong


def _placed(complaint: str) -> "Mistakes":
    """Return what the settings themselves say, beside the first field that they name."""
    words = complaint.split(": ")
    for word in " ".join(words).split(" "):
        for field in FIELDS:
            if word == field[0]:
                return {word: words[-1]}
    return {FIELDS[-1][0]: words[-1]}


def _put(given: "dict[str, Any]", key: str, value: "str | int") -> None:
    """Take a field's value; an empty field is a setting that is not there."""
    if value != "":
        given[key] = value
    elif key in given:
        del given[key]


def _number(text: str) -> int | None:
    # int() takes more than a person means: "1_0", "0x10" on the device, " 7".
    if text and len(text) <= 9 and all(letter in "0123456789" for letter in text):
        return int(text)
    return None


def _wrong(key: str, mistakes: "Mistakes", tongue: int) -> str:
    reason = mistakes.get(key)
    if reason is None:
        return ""
    if reason not in REASONS:
        return escaped(reason)  # in the words of the settings
    words = REASONS[reason][tongue]
    for row in settings.KEYS:
        if row[0] == key and "%" in words:
            words = words % row[2:4]
    return words


def _field(key: str, kind: str, label: str, value: str, wrong: str) -> "Iterator[str]":
    named = 'id="%s" name="%s"' % (key, key)
    bad = ' class="bad" aria-invalid="true" aria-describedby="%s-e"' % key if wrong else ""
    if kind == "checkbox":
        checked = " checked" if value else ""
        yield '<label><input type="checkbox" value="1" %s%s%s>%s</label>' % (
            (named, checked, bad, label)
        )
    else:
        shape = ' type="text" inputmode="numeric"' if kind == "number" else ' type="%s"' % kind
        yield '<label for="%s">%s</label><input %s%s%s value="%s"' % (
            (key, label, named, shape, bad, escaped(value))
        )
        yield ' autocomplete="off" autocapitalize="none" spellcheck="false">'
    if wrong:
        yield '<p class="e" id="%s-e">%s</p>' % (key, wrong)
