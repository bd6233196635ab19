"""What the cloud may answer instead of data, as a table, and what a person can do about it."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["session", "login", "again", "busy", "nothing", "offline", "refused"]
"""What to do: log in anew; never try this login again; ask once more; come later; pass over;
the device is away; give up this call."""


class DessError(Exception):
    """A call that gave nothing; str() is one line for a person, reason a counter's key."""

    reason = "error"

    def __init__(self, text: str, code: int | None = None) -> None:
        """Take the line and, where the cloud gave one, its error code."""
        super().__init__(text)
        self.code = code


class Unreachable(DessError):
    """No answer in time, no connection, or the proxy's HTTP 5xx; it may be better next time."""

    reason = "unreachable"


class Garbled(DessError):
    """An answer that is none: no JSON, too large, a redirect, a page."""

    reason = "garbled"


class Busy(DessError):
    """The cloud asks for a pause; retry_after_s is its own word, None where it gave none."""

    reason = "busy"

    def __init__(
        self, text: str, code: int | None = None, retry_after_s: float | None = None
    ) -> None:
        """Take the pause beside the line."""
        super().__init__(text, code)
        self.retry_after_s = retry_after_s


class SessionEnded(DessError):
    """The token does not count any more (err 10)."""

    reason = "session"


class LoginRefused(DessError):
    """This login will not work however often it is tried: repeating it locks the account."""

    reason = "login"


class LoginFailed(DessError):
    """The login did not work for a reason that may pass; it is tried again at the next look."""

    reason = "login"


class LoginMissing(DessError):
    """There is neither a token that counts nor a password to get one."""

    reason = "login"


class Rejected(DessError):
    """The cloud understood and said no."""

    reason = "rejected"


class Again(Rejected):
    """The cloud said no for a reason that passes."""


class NothingThere(Rejected):
    """There is no such record, plant or menu; for this device only."""

    reason = "nothing"


class DeviceOffline(Rejected):
    """Device or collector does not answer the cloud."""

    reason = "offline"


class ControlRefused(DessError):
    """A setting was not sent, because it may not be or the value cannot be right."""

    reason = "control"


@dataclass(frozen=True, slots=True)
class Code:
    """One row: the cloud's number, its name, what we do, what a person can do."""

    number: int
    name: str
    kind: Kind
    advice: str


_LATER = "it passes by itself"
_OURS = "please report this"
_KNOWN = (
    Code(1, "ERR_FAIL", "refused", "the inverter or the cloud said no and not why"),
    Code(2, "ERR_TIMEOUT", "again", "the collector did not answer in time; " + _LATER),
    Code(3, "ERR_SYSTEM_EXCEPTION", "again", "trouble in the cloud; " + _LATER),
    Code(4, "ERR_SIGN", "again", "seen during maintenance of the cloud; " + _LATER),
    Code(5, "ERR_SALT", "refused", _OURS),
    Code(6, "ERR_FORMAT_ERROR", "refused", _OURS),
    Code(7, "ERR_MISSING_PARAMETER", "refused", _OURS),
    Code(8, "ERR_FORBIDDEN", "refused", "the cloud does not offer this"),
    Code(9, "ERR_UNSUPPORTED", "refused", "this device cannot do that"),
    Code(10, "ERR_NO_AUTH", "session", "wattlog logs in again by itself"),
    Code(11, "ERR_NO_PERMISSION", "refused", "this device belongs to another account"),
    Code(12, "ERR_NO_RECORD", "nothing", "the cloud has nothing for this device"),
    Code(13, "ERR_OVER_LIMITED", "busy", "too many calls; wattlog asks less often for a while"),
    Code(14, "ERR_DUPLICATE_OPER", "refused", "the same was just asked for"),
    Code(15, "ERR_NOT_FOUND_COMPANY_KEY", "login", "set dessmonitor.company_key"),
    Code(
        16,
        "ERR_PASSWORD_VERIF_FAIL",
        "login",
        "check the password; some accounts log in with the e-mail address, others with the name",
    ),
    Code(17, "ERR_PASSWORD_FORMAT", "login", "check the password"),
    Code(25, "ERR_USR_DISABLED", "login", "the account is disabled: ask the installer"),
    Code(256, "ERR_NOT_FOUND_API", "refused", "the cloud does not offer this"),
    Code(257, "ERR_NOT_FOUND_COLLECTOR", "nothing", "the collector was removed"),
    Code(258, "ERR_NOT_FOUND_DEVICE", "nothing", "the device was removed"),
    Code(259, "ERR_INVALID_PN", "refused", "no such collector"),
    Code(260, "ERR_NOT_FOUND_PLANT", "nothing", "the account has no plant"),
    Code(
        261,
        "ERR_NOT_FOUND_USR",
        "login",
        'the user is not known on this platform; try dessmonitor.platform "pv" or "ess", '
        "or the e-mail address as the name",
    ),
    Code(262, "ERR_DEVICE_OFFLINE", "offline", "the device is offline"),
    Code(263, "ERR_COLLECTOR_OFFLINE", "offline", "the collector is offline"),
    Code(264, "ERR_NOT_FOUND_WARNING", "nothing", "no warning"),
    Code(386, "ERR_NOT_FOUND_DEVICE_CONFIGURATION", "nothing", "the device has no such settings"),
)
CODES = {row.number: row for row in _KNOWN}
NO_PLANT = 260
MOVED_CODES = (257, 258, 260)
"""What these say is that the topology has changed."""

_CLASSES: dict[Kind, type[DessError]] = {
    "session": SessionEnded,
    "login": LoginRefused,
    "again": Again,
    "busy": Busy,
    "nothing": NothingThere,
    "offline": DeviceOffline,
    "refused": Rejected,
}


def of_code(number: int, desc: str, *, is_login: bool = False) -> DessError:
    """Return the error for a code other than 0; desc is the cloud's own, already clean."""
    row = CODES.get(number)
    said = desc or (row.name if row else "no description")
    advice = row.advice if row else "a code that is not documented"
    kind: Kind = row.kind if row else "refused"
    if is_login and kind not in ("login", "again", "busy"):
        return LoginFailed(f"login: the cloud says {number} {said}: {advice}", number)
    return _CLASSES[kind](f"the cloud says {number} {said}: {advice}", number)
