"""[alerts] of host.toml: its keys, and what they become."""

import importlib.util
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from wattlog.config import ConfigError, Key
from wattlog_host.alerts.rules import KINDS, Limits
from wattlog_host.web.languages import LANGUAGES

URLS_VARIABLE = "WATTLOG_ALERTS_URLS"
URLS_BYTES_MAX = 65_536
TARGETS_MAX = 20
LIBRARY = "apprise"

_KINDS = ", ".join(KINDS)
SCHEMA = (
    Key("alerts.urls_file", "text", None, 1, 4096, "a file with an address of Apprise per line"),
    Key("alerts.language", LANGUAGES, LANGUAGES[0], None, None, "the language of messages"),
    Key("alerts.quiet", "text", "", 0, 20, "hours without messages, like 22:00-07:00"),
    Key("alerts.urgent", "text", "database", 0, 200, "what is told in quiet hours, too"),
    Key("alerts.off", "text", "", 0, 200, "what is never told"),
    Key("alerts.digest_min", "integer", 10, 1, 1440, "the least minutes between two messages"),
    Key("alerts.silent_min", "integer", 5, 1, 10_080, "after how many minutes data are missing"),
    Key("alerts.offline_min", "integer", 10, 1, 10_080, "after how many minutes an agent is"),
    Key("alerts.log_percent", "integer", 80, 11, 100, "from when on an agent's log is too full"),
    Key("alerts.disk_mib", "integer", 1024, 0, 2**30, "what is to be free on the disk, MiB"),
    Key("alerts.disk_days", "integer", 14, 0, 3650, "for how many days the disk is to last"),
    Key("alerts.base_percent", "integer", 50, 10, 1000, "from which difference base load is odd"),
)
_CLOCK = r"([01]\d|2[0-3]):([0-5]\d)"
_QUIET = re.compile(rf"{_CLOCK}-{_CLOCK}", re.ASCII)
_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9]{1,11})://\S+", re.ASCII)

Refuse = Callable[[str, str], ConfigError]


class Quiet(NamedTuple):
    """Hours of the day, in minutes since midnight; the end lies before the start over night."""

    start_min: int
    end_min: int

    def holds(self, moment: datetime) -> bool:
        """Tell whether this is within them."""
        minute = 60 * moment.hour + moment.minute
        if self.start_min <= self.end_min:
            return self.start_min <= minute < self.end_min
        return minute >= self.start_min or minute < self.end_min


@dataclass(frozen=True, slots=True)
class Target:
    """Where messages go. The address is a secret; line is where it stands."""

    index: int
    line: int
    url: str = field(repr=False)

    @property
    def scheme(self) -> str:
        """What may be shown of the address."""
        return self.url.partition(":")[0].lower()

    @property
    def name(self) -> str:
        """What tells it from others."""
        return f"{self.index} {self.scheme}"


@dataclass(frozen=True, slots=True)
class AlertSettings:
    """What is set; place says where the targets stand, in an error."""

    targets: tuple[Target, ...] = ()
    place: str = ""
    language: str = "en"
    quiet: Quiet | None = None
    urgent: frozenset[str] = frozenset(("database",))
    kinds: frozenset[str] = frozenset(KINDS)
    digest_min: int = 10
    base_percent: int = 50
    limits: Limits = Limits()  # noqa: RUF009 - a tuple cannot change

    def lines(self) -> list[str]:
        """Return them as TOML lines, without addresses."""
        quiet = ""
        if self.quiet is not None:
            quiet = "-".join(f"{one // 60:02}:{one % 60:02}" for one in self.quiet)
        shown = ["[alerts]"]
        if self.targets:
            shown.append(f"# targets: {', '.join(one.name for one in self.targets)}")
        shown += [f'language = "{self.language}"', f'quiet = "{quiet}"']
        shown += [f'urgent = "{_listed(self.urgent)}"']
        shown += [f'off = "{_listed(frozenset(KINDS) - self.kinds)}"']
        shown += [f"digest_min = {self.digest_min}", f"base_percent = {self.base_percent}"]
        return [*shown, *(f"{key} = {value}" for key, value in self.limits._asdict().items())]


def read(
    table: Mapping[str, Any],
    refuse: Refuse,
    place: Callable[[str, str], Path],
    environ: Mapping[str, str],
) -> AlertSettings:
    """Return the settings in a checked table; raise what refuse(key, why) returns."""
    file = table["urls_file"]
    if file is not None:
        path = place("alerts.urls_file", file)
        text, where = _read(path, refuse), str(path)
    else:
        text, where = environ.get(URLS_VARIABLE, ""), URLS_VARIABLE
    targets = _targets(text, where, refuse)
    if file is not None and not targets:
        raise refuse("alerts.urls_file", f"{where} holds no address; write one in each line")
    if targets and importlib.util.find_spec(LIBRARY) is None:
        raise refuse(
            "alerts.urls_file",
            "needs the library apprise, which is not installed: pip install 'wattlog[alerts]'",
        )
    return AlertSettings(
        targets,
        where,
        table["language"],
        _quiet(table["quiet"], refuse),
        _kinds("alerts.urgent", table["urgent"], refuse),
        frozenset(KINDS) - _kinds("alerts.off", table["off"], refuse),
        table["digest_min"],
        table["base_percent"],
        Limits(**{name: table[name] for name in Limits._fields}),
    )


def _read(path: Path, refuse: Refuse) -> str:
    try:
        with path.open("rb") as file:
            text = file.read(URLS_BYTES_MAX + 1).decode()
    except OSError as err:
        raise refuse("alerts.urls_file", f"cannot read {path}: {err.strerror}") from err
    except ValueError as err:
        # Its words may hold a part of what is in the file.
        raise refuse("alerts.urls_file", f"{path} is not UTF-8 text") from err
    if len(text.encode()) > URLS_BYTES_MAX:
        raise refuse("alerts.urls_file", f"{path} is longer than {URLS_BYTES_MAX} bytes")
    return text


def _targets(text: str, where: str, refuse: Refuse) -> tuple[Target, ...]:
    """Return the addresses; no word of a line is ever shown, for it may be a token."""
    made: list[Target] = []
    for number, line in enumerate(text.splitlines(), 1):
        url = line.strip()
        if not url or url.startswith("#"):
            continue
        if not _SCHEME.fullmatch(url):
            raise refuse(
                "alerts.urls_file",
                f"{where} line {number} is no address of Apprise, like ntfy://ntfy.sh/topic",
            )
        made.append(Target(len(made) + 1, number, url))
    if len(made) > TARGETS_MAX:
        raise refuse("alerts.urls_file", f"{where} has more than {TARGETS_MAX} addresses")
    return tuple(made)


def _quiet(text: str, refuse: Refuse) -> Quiet | None:
    if not text:
        return None
    match = _QUIET.fullmatch(text.replace(" ", ""))
    if match is None:
        raise refuse("alerts.quiet", f'must be like "22:00-07:00", not "{text}"')
    start, start_min, end, end_min = map(int, match.groups())
    made = Quiet(60 * start + start_min, 60 * end + end_min)
    if made.start_min == made.end_min:
        raise refuse(
            "alerts.quiet", "must end at another time than it begins; leave it out for none"
        )
    return made


def _kinds(key: str, text: str, refuse: Refuse) -> frozenset[str]:
    words = [word.strip() for word in text.split(",") if word.strip()]
    for word in words:
        if word not in KINDS:
            raise refuse(key, f'knows no "{word}"; there are {_KINDS}')
    return frozenset(words)


def _listed(kinds: frozenset[str]) -> str:
    return ", ".join(kind for kind in KINDS if kind in kinds)
