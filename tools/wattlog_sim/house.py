"""A household with solar panels as integer physics: power per second, energy without drift.

Everything is a pure function of (seed, second): asking twice, skipping ahead, or starting the
simulator again after a crash gives the same registers, so a simulated meter never counts back.

To know years of energy at once, power is built so that it can be summed in closed form:

* every minute has one level per phase, which follows from the seed, the minute of the day and
  the *kind* of day, of which there are only 12 months x 3 sorts of weather;
* on top lies a flicker that cancels out within the minute, and that is left out where it could
  turn import into export and back.

The register then is (days of each kind x energy of that kind) + minutes of today + seconds of
this minute. Runs on MicroPython and CPython.
"""

from collections import namedtuple

SECONDS_PER_DAY = 86_400
MINUTES_PER_DAY = 1_440
WS_PER_WH_E1 = 360
"""Watt-seconds in 0.1 Wh, the step of most meters."""

COMMISSIONED_EPOCH_S = 1_735_689_600
"""2025-01-01 00:00 UTC: the meter's registers start to count here."""

PHASES = 3

_LOCAL_OFFSET_MINUTES = 60
"""The people in the house live by UTC+1 all year round."""

_SOLAR_NOON_MINUTE = 680
"""In UTC, for the middle of Germany."""

_FLICKER_W_MAX = 6

_CLOUD_MINUTES = 20
"""The sky gets a new state this often, and drifts from one to the next in between."""

_DAYS_REMEMBERED_MAX = 16
"""A meter with a history asks for the same few midnights again and again."""

_FRIDGE_CYCLE_MINUTES = 52
_FRIDGE_ON_MINUTES = 17
_FRIDGE_W = 85

_STANDBY_W = (145, 48, 37)

# Length of daylight in minutes and the sun's best power in permille of the peak, by month.
_DAYLIGHT = (
    (505, 280),
    (600, 430),
    (715, 630),
    (830, 800),
    (930, 880),
    (985, 900),
    (965, 890),
    (870, 840),
    (760, 710),
    (645, 500),
    (540, 320),
    (480, 230),
)

# How many days in sixteen have this weather, and its darkest and brightest sky in permille.
_WEATHER = (
    (6, 880, 1000),
    (6, 220, 1000),
    (4, 60, 300),
)

Load = namedtuple("Load", ("name", "phase", "power_w", "start", "minutes", "on", "cycle", "shift"))
"""A habit: from local minute `start`, moved by up to `shift`, for `minutes`, `on` of `cycle`."""

LOADS = (
    Load("morning light", 0, 130, 6 * 60 + 20, 70, 1, 1, 15),
    Load("kettle", 2, 2050, 6 * 60 + 50, 3, 1, 1, 15),
    Load("toaster", 1, 850, 6 * 60 + 58, 4, 1, 1, 15),
    Load("washing, heating", 1, 1950, 9 * 60 + 30, 18, 1, 1, 50),
    Load("washing, drum", 1, 240, 9 * 60 + 50, 70, 3, 4, 50),
    Load("lunch hob", 0, 1750, 12 * 60 + 5, 30, 2, 5, 15),
    Load("afternoon kettle", 2, 2050, 15 * 60 + 40, 3, 1, 1, 40),
    Load("dinner hob", 0, 1750, 18 * 60 + 10, 45, 3, 5, 25),
    Load("dinner oven", 2, 2300, 18 * 60 + 20, 40, 2, 6, 25),
    Load("evening light", 0, 170, 17 * 60 + 30, 335, 1, 1, 25),
    Load("television", 1, 120, 20 * 60, 150, 1, 1, 25),
    Load("dishwasher, heating", 2, 1900, 20 * 60 + 30, 22, 1, 1, 40),
)


class House:
    """One household, seen from its electricity meter; `solar_peak_w` 0 means no panels."""

    def __init__(
        self,
        seed: int,
        solar_peak_w: int = 6_000,
        commissioned_epoch_s: int = COMMISSIONED_EPOCH_S,
    ) -> None:
        """Draw the house from its seed; registers count from `commissioned_epoch_s` on."""
        assert commissioned_epoch_s % SECONDS_PER_DAY == 0, "the first day starts at midnight"
        assert solar_peak_w >= 0
        self._seed = seed
        self._solar_peak_w = solar_peak_w
        self._first_day = commissioned_epoch_s // SECONDS_PER_DAY
        self._energy_ws_to_day: dict[int, tuple[int, int]] = {}
        self._energy_ws_by_kind: dict[int, tuple[int, int]] = {}
        # The minute asked for last, with the energy up to its start: time mostly walks on.
        self._minute = -1
        self._minute_energy_ws = (0, 0)
        # So with the second, and with the minute whose power was asked for.
        self._second = -1
        self._second_energy_ws = (0, 0)
        self._level_minute = -1
        self._level_now_w = (0, 0, 0)

    def phases_w(self, epoch_s: int) -> tuple[int, int, int]:
        """Return the power drawn from the grid during this second, per phase; negative is export.

        The panels' inverter feeds all three phases, so one may import while another exports.
        """
        level_w = self._minute_w(epoch_s // 60)
        if abs(sum(level_w)) <= PHASES * _FLICKER_W_MAX:
            return level_w
        second = epoch_s % 60
        # The second half of a minute takes back what the first half added.
        sign, slot = (1, second) if second < 30 else (-1, 59 - second)
        base = (epoch_s // 60 * 30 + slot) * PHASES
        flicker_w = [
            sign * (_noise(self._seed, base + phase) % (2 * _FLICKER_W_MAX + 1) - _FLICKER_W_MAX)
            for phase in range(PHASES)
        ]
        return (level_w[0] + flicker_w[0], level_w[1] + flicker_w[1], level_w[2] + flicker_w[2])

    def power_w(self, epoch_s: int) -> int:
        """Return the sum of the phases: what the meter counts."""
        return sum(self.phases_w(epoch_s))

    def energy_ws(self, epoch_s: int) -> tuple[int, int]:
        """Return (import, export) in watt-seconds from commissioning to the start of this second.

        Exact: it is the sum of `power_w` over all seconds before, by sign. Before commissioning
        it is (0, 0).
        """
        if epoch_s < self._first_day * SECONDS_PER_DAY:
            return (0, 0)
        minute_start = epoch_s - epoch_s % 60
        if not minute_start <= self._second <= epoch_s:
            self._second = minute_start
            self._second_energy_ws = self._energy_to_minute(epoch_s // 60)
        import_ws, export_ws = self._second_energy_ws
        for second in range(self._second, epoch_s):
            import_ws, export_ws = _count(self.power_w(second), 1, import_ws, export_ws)
        self._second = epoch_s
        self._second_energy_ws = (import_ws, export_ws)
        return self._second_energy_ws

    def _energy_to_minute(self, minute: int) -> tuple[int, int]:
        day_start = minute - minute % MINUTES_PER_DAY
        if minute == day_start:
            # Midnights are asked for by meters that keep a history: leave today's place as it is.
            return self._energy_to_day(day_start // MINUTES_PER_DAY)
        if not day_start <= self._minute <= minute:
            self._minute = day_start
            self._minute_energy_ws = self._energy_to_day(day_start // MINUTES_PER_DAY)
        import_ws, export_ws = self._minute_energy_ws
        for passed in range(self._minute, minute):
            level_w = sum(self._minute_w(passed))
            import_ws, export_ws = _count(level_w, 60, import_ws, export_ws)
        self._minute = minute
        self._minute_energy_ws = (import_ws, export_ws)
        return self._minute_energy_ws

    def _energy_to_day(self, day: int) -> tuple[int, int]:
        if day not in self._energy_ws_to_day:
            if len(self._energy_ws_to_day) >= _DAYS_REMEMBERED_MAX:
                self._energy_ws_to_day.clear()
            self._energy_ws_to_day[day] = self._sum_of_days(day)
        return self._energy_ws_to_day[day]

    def _sum_of_days(self, day: int) -> tuple[int, int]:
        import_ws = export_ws = 0
        for passed in range(self._first_day, day):
            kind = self._kind(passed)
            if kind not in self._energy_ws_by_kind:
                self._energy_ws_by_kind[kind] = self._energy_of_kind(kind)
            day_import_ws, day_export_ws = self._energy_ws_by_kind[kind]
            import_ws += day_import_ws
            export_ws += day_export_ws
        return (import_ws, export_ws)

    def _energy_of_kind(self, kind: int) -> tuple[int, int]:
        import_ws = export_ws = 0
        for minute_of_day in range(MINUTES_PER_DAY):
            level_w = sum(self._level_w(kind, minute_of_day))
            import_ws, export_ws = _count(level_w, 60, import_ws, export_ws)
        return (import_ws, export_ws)

    def _minute_w(self, minute: int) -> tuple[int, int, int]:
        if minute != self._level_minute:
            kind = self._kind(minute // MINUTES_PER_DAY)
            self._level_now_w = self._level_w(kind, minute % MINUTES_PER_DAY)
            self._level_minute = minute
        return self._level_now_w

    def _kind(self, day: int) -> int:
        draw = _noise(self._seed, day) % 16
        weather = 0
        while draw >= _WEATHER[weather][0]:
            draw -= _WEATHER[weather][0]
            weather += 1
        return month_index(day) * len(_WEATHER) + weather

    def _level_w(self, kind: int, minute_of_day: int) -> tuple[int, int, int]:
        levels_w = list(_STANDBY_W)
        if (minute_of_day + self._seed * 7) % _FRIDGE_CYCLE_MINUTES < _FRIDGE_ON_MINUTES:
            levels_w[1] += _FRIDGE_W
        local_minute = (minute_of_day + _LOCAL_OFFSET_MINUTES) % MINUTES_PER_DAY
        for index, load in enumerate(LOADS):
            late = local_minute - load.start
            # Nothing runs, whatever its shift: skip the draw, which costs the most here.
            if not -load.shift <= late < load.minutes + load.shift:
                continue
            late -= _noise(self._seed + kind, index) % (2 * load.shift + 1) - load.shift
            if 0 <= late < load.minutes and late % load.cycle < load.on:
                levels_w[load.phase] += load.power_w
        solar_w = self._solar_w(kind, minute_of_day)
        third_w = solar_w // PHASES
        return (
            levels_w[0] - (solar_w - 2 * third_w),
            levels_w[1] - third_w,
            levels_w[2] - third_w,
        )

    def _solar_w(self, kind: int, minute_of_day: int) -> int:
        month, weather = divmod(kind, len(_WEATHER))
        daylight_minutes, best_permille = _DAYLIGHT[month]
        risen = minute_of_day - (_SOLAR_NOON_MINUTE - daylight_minutes // 2)
        if self._solar_peak_w == 0 or not 0 < risen < daylight_minutes:
            return 0
        clear_w = (
            self._solar_peak_w
            * best_permille
            * 4
            * risen
            * (daylight_minutes - risen)
            // (1000 * daylight_minutes * daylight_minutes)
        )
        return clear_w * self._sky_permille(kind, weather, minute_of_day) // 1000

    def _sky_permille(self, kind: int, weather: int, minute_of_day: int) -> int:
        _, darkest, brightest = _WEATHER[weather]
        slot, into = divmod(minute_of_day, _CLOUD_MINUTES)
        span = brightest - darkest + 1
        before = _noise(self._seed + kind, 1000 + slot) % span
        after = _noise(self._seed + kind, 1001 + slot) % span
        return darkest + (before * (_CLOUD_MINUTES - into) + after * into) // _CLOUD_MINUTES


def month_index(day: int) -> int:
    """Return the month, 0 to 11, of a day since 1970, within a day or two of the calendar's."""
    day_of_year = day * 10_000 % 3_652_425 // 10_000
    return day_of_year * 12 // 366


def _count(power_w: int, seconds: int, import_ws: int, export_ws: int) -> tuple[int, int]:
    if power_w >= 0:
        return (import_ws + power_w * seconds, export_ws)
    return (import_ws, export_ws - power_w * seconds)


def _noise(seed: int, index: int) -> int:
    # A multiply-and-fold hash: any index can be drawn without those before it.
    mixed = (seed * 0x9E3779B1 + index * 0x85EBCA6B + 0x27D4EB2F) & 0xFFFFFFFF
    mixed = ((mixed ^ (mixed >> 15)) * 0x2C1B3C6D) & 0xFFFFFFFF
    mixed = ((mixed ^ (mixed >> 12)) * 0x297A2D39) & 0xFFFFFFFF
    return mixed ^ (mixed >> 15)
