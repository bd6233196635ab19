"""A command made a service of systemd: what has to be done, said or done; and undone.

Shared by `wattlog-agent install` and `wattlog-host install`. A plan is a list of steps, which are
printed unless --system has them done.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from wattlog.config import ConfigError

UNIT_FOLDER = "etc/systemd/system"
CONFIG_FOLDER = "etc/wattlog"
SYSTEMD_RUNS = "run/systemd/system"  # as sd_booted(3) has it
HIDDEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")  # from what our units start
RULES = "etc/udev/rules.d/70-wattlog.rules"

INSTALL_ABOUT = "print the unit that makes it a service of systemd, or install it"
UNINSTALL_ABOUT = "print how the service is removed, or remove it"

Call = Callable[[Sequence[str]], int]


class InstallRefused(Exception):
    """It cannot be installed; str() is one line that says what to change."""


class Placed(NamedTuple):
    """A file of a service: where below the root, and its text; one that is kept is a person's."""

    path: str
    text: str
    is_kept: bool


@dataclass(frozen=True)
class Service:
    """What makes a command a service.

    config is the file of settings among the files; check raises ConfigError while the settings
    at a path cannot be started with. left names what uninstalling leaves.
    """

    name: str
    files: tuple[Placed, ...]
    config: str
    check: Callable[[Path], object]
    left: tuple[str, ...]

    @property
    def unit(self) -> str:
        """Return the name of the unit."""
        return f"{self.name}.service"


def data_of(package: str, name: str) -> str:
    """Return the text of a file in the folder `service` of a package."""
    return (files(package) / "service" / name).read_text("utf-8")


def unit_of(package: str, name: str, module: str) -> Placed:
    """Return the unit of a command, as it is to be started from where this program is."""
    text = data_of(package, f"{name}.service").replace("@COMMAND@", command_of(name, module))
    return Placed(f"{UNIT_FOLDER}/{name}.service", text, False)


def command_of(name: str, module: str) -> str:
    """Return how systemd is to start the command: beside our Python, else by the module's name."""
    script = Path(sys.executable).with_name(name)
    words = [str(script)] if script.is_file() else [sys.executable, "-m", module]
    return " ".join(_quoted(word) for word in words)


def _quoted(word: str) -> str:
    """Return the word as ExecStart= takes it as it is."""
    word = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{word}"' if any(mark in word for mark in " \"'\t;") else word


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what `install` and `uninstall` of both commands take."""
    parser.add_argument(
        "--system", action="store_true", help="do it, as root; without it, only print it"
    )


def install(
    service: Service, *, is_done: bool, root: Path = Path("/"), call: Call | None = None
) -> Iterator[str]:
    """Install the service, or only say how; give lines for a person. Raises InstallRefused."""
    if not is_done:
        yield from _plan(service, root)
        return
    _require_system(root)
    _require_seen()
    for file in service.files:
        yield _write(root, file)
    yield from _run(call, [["systemctl", "daemon-reload"]])
    if any(file.path == RULES for file in service.files):
        yield from _run(call, [["udevadm", "control", "--reload"], ["udevadm", "trigger"]], True)
    try:
        service.check(root / service.config)
    except ConfigError as err:
        raise InstallRefused(
            f"{err}; it is not started yet: change that, then run "
            f"systemctl enable --now {service.unit}"
        ) from err
    yield from _run(
        call, [["systemctl", "enable", service.unit], ["systemctl", "restart", service.unit]]
    )
    yield f"{service.unit} runs; systemctl status {service.name} shows how it is"


def uninstall(
    service: Service, *, is_done: bool, root: Path = Path("/"), call: Call | None = None
) -> Iterator[str]:
    """Undo install(), or only say how; settings and data stay. Raises InstallRefused."""
    gone = [file.path for file in service.files if not file.is_kept]
    if not is_done:
        yield "Would do, as root (--system does it):"
        yield f"  systemctl disable --now {service.unit}"
        yield from (f"  remove {root / path}" for path in gone)
        yield "  systemctl daemon-reload"
    else:
        _require_system(root)
        if (root / UNIT_FOLDER / service.unit).exists():
            yield from _run(call, [["systemctl", "disable", "--now", service.unit]])
        for path in gone:
            (root / path).unlink(missing_ok=True)
            yield f"removed {root / path}"
        yield from _run(call, [["systemctl", "daemon-reload"]])
    yield f"What stays is yours to remove: {', '.join(service.left)}"


def _plan(service: Service, root: Path) -> Iterator[str]:
    yield "Would do, as root (--system does it):"
    for file in service.files:
        kept = file.is_kept and (root / file.path).exists()
        yield f"  {'keep' if kept else 'write'} {root / file.path}"
    yield f"  systemctl daemon-reload, enable and restart {service.unit}"
    for file in service.files:
        if not (file.is_kept and (root / file.path).exists()):
            yield f"\n# ---- {root / file.path}"
            yield file.text.rstrip("\n")


def _write(root: Path, file: Placed) -> str:
    path = root / file.path
    if file.is_kept and path.exists():
        return f"kept {path}"
    try:
        if not path.parent.exists():
            path.parent.mkdir(parents=True)
            path.parent.chmod(0o755)  # whatever root's umask is: the service is not root
        beside = path.with_name(path.name + ".new")
        beside.write_text(file.text, "utf-8")
        beside.chmod(0o644)  # nothing in it is secret
        beside.replace(path)
    except OSError as err:
        raise InstallRefused(f"cannot write {path}: {err.strerror}") from err
    return f"wrote {path}"


def _run(
    call: Call | None, commands: Sequence[Sequence[str]], is_optional: bool = False
) -> Iterator[str]:
    for words in commands:
        status = (call or _call)(words)
        if status and not is_optional:
            raise InstallRefused(
                f"{' '.join(words)} ended with status {status}; "
                f"journalctl -u {words[-1]} says more"
            )
        if not status:
            yield " ".join(words)


def _call(words: Sequence[str]) -> int:
    try:
        return subprocess.run(words, stdin=subprocess.DEVNULL, check=False).returncode
    except OSError:
        return 127


def _require_system(root: Path) -> None:
    if os.geteuid() != 0:
        raise InstallRefused("only root can do this: put sudo in front, or leave --system out")
    if not (root / SYSTEMD_RUNS).is_dir():
        raise InstallRefused(
            "systemd does not run here; without --system the unit is printed, to look at"
        )


def _require_seen() -> None:
    """Refuse a program that the service's sandbox would not let it see."""
    # Installed in place, wattlog lies elsewhere than the Python that runs it.
    program = Path(sys.executable)
    for path in (program.absolute(), program.resolve(), Path(__file__).resolve()):
        if any(path.is_relative_to(folder) for folder in HIDDEN):
            raise InstallRefused(
                f"{path} is where a service sees nothing: install wattlog in /opt, "
                "as host/INSTALL.md says"
            )
