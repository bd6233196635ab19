"""Which file may import what, and what the ESP32's MicroPython lacks: the table and its reader.

tests/test_layers.py applies it. A new file needs one row. Sections:

[core]     agent/wattlog on the device and on CPython; the number is its floor, and it may import
           only from lower floors. Integers only; no clock, no I/O, no async, no print.
[checker]  only for people and mypy: never imported where the core runs.
[device]   MicroPython on the ESP32 (and on the unix port, in tests).
[board]    the fake board: modules of the ESP32 for MicroPython's unix port, which only it can run.
[both]     fakes that run on MicroPython and on CPython.
[cpython]  the rest; its rows list our own and third-party modules, CPython's own are free.

`x.*` stands for the package x and all its modules. An indented line goes on with the row above.
"""

import ast
import sys
from collections import namedtuple
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TREES = ("agent", "firmware", "host", "tools")

TABLE = """
[core]
agent/wattlog/__init__.py     0
agent/wattlog/compat.py       0  binascii micropython struct
agent/wattlog/crc.py          1  array wattlog.compat
agent/wattlog/msgpack.py      1
agent/wattlog/channels.py     1  collections
agent/wattlog/quirks.py       1  collections
agent/wattlog/config.py       1  collections
agent/wattlog/ramdevice.py    1
agent/wattlog/ringsector.py   1  binascii struct wattlog.compat
agent/wattlog/ringrepair.py   2  binascii wattlog.compat wattlog.ringsector
agent/wattlog/framing.py      2  wattlog.crc
agent/wattlog/sml.py          2  collections wattlog.compat
agent/wattlog/timebase.py     2
agent/wattlog/records.py      2  wattlog.compat wattlog.msgpack
agent/wattlog/layout.py       3  wattlog.compat wattlog.crc wattlog.sml
agent/wattlog/diagnosis.py    3  wattlog.compat wattlog.framing
agent/wattlog/gate.py         3  wattlog.compat wattlog.sml
agent/wattlog/ringlog.py      3  collections wattlog.compat wattlog.ringrepair
                                 wattlog.ringsector
agent/wattlog/live.py         3  wattlog.records
agent/wattlog/recordreader.py 3  collections wattlog.records
agent/wattlog/uplink.py       4  binascii wattlog.live wattlog.records wattlog.ringlog
agent/wattlog/decoder.py      4  wattlog.crc wattlog.framing wattlog.layout wattlog.sml
agent/wattlog/reading.py      4  collections wattlog.channels wattlog.compat wattlog.layout
                                 wattlog.quirks
agent/wattlog/average.py      5  wattlog.compat wattlog.reading
agent/wattlog/agent.py        6  wattlog wattlog.average wattlog.decoder wattlog.diagnosis
                                 wattlog.gate wattlog.reading wattlog.records
                                 wattlog.ringlog wattlog.sml wattlog.timebase wattlog.uplink

[checker]
agent/wattlog/ports.py  wattlog.ringlog

[device]
firmware/wattlog_esp32/__init__.py  gc
firmware/wattlog_esp32/settings.py  json
firmware/wattlog_esp32/board.py     micropython network ntptime time wattlog.uplink
firmware/wattlog_esp32/uart.py      machine micropython
firmware/wattlog_esp32/start.py     gc sys
firmware/wattlog_esp32/pulse.py     wattlog.compat
firmware/wattlog_esp32/led.py       wattlog.compat
firmware/wattlog_esp32/crashlog.py  io os sys wattlog.compat
firmware/wattlog_esp32/filedevice.py  os wattlog.compat
firmware/wattlog_esp32/storage.py   esp32 micropython os wattlog.ramdevice wattlog.ringlog
                                    wattlog_esp32.filedevice
firmware/wattlog_esp32/eyes.py      wattlog wattlog.compat wattlog.msgpack wattlog.records
                                    wattlog.uplink
firmware/wattlog_esp32/loader.py    machine os sys time
firmware/wattlog_esp32/slots.py     os sys
firmware/wattlog_esp32/trial.py     wattlog.compat wattlog_esp32.slots wattlog_esp32.start
                                    wattlog_esp32.update
firmware/wattlog_esp32/update.py    hashlib json os sys wattlog wattlog.compat wattlog.msgpack
                                    wattlog.records wattlog.uplink wattlog_esp32.slots
                                    wattlog_esp32.start
firmware/wattlog_esp32/light.py     array wattlog wattlog.compat wattlog.msgpack wattlog.records
                                    wattlog.uplink wattlog_esp32.lamp wattlog_esp32.start
firmware/wattlog_esp32/lamp.py      machine time wattlog.compat wattlog_esp32.start
firmware/wattlog_esp32/link.py      errno micropython select socket time umqtt wattlog.records
                                    wattlog.uplink
firmware/wattlog_esp32/secure.py    errno micropython tls wattlog.uplink
firmware/wattlog_esp32/head.py      gc machine micropython os sys time wattlog wattlog.agent
                                    wattlog.records wattlog.timebase wattlog_esp32.board
                                    wattlog_esp32.crashlog wattlog_esp32.eyes
                                    wattlog_esp32.led wattlog_esp32.light wattlog_esp32.link
                                    wattlog_esp32.pulse wattlog_esp32.secure
                                    wattlog_esp32.slots wattlog_esp32.start
                                    wattlog_esp32.storage wattlog_esp32.trial
                                    wattlog_esp32.update
firmware/wattlog_esp32/main.py      micropython os random wattlog_esp32.head
                                    wattlog_esp32.settings wattlog_esp32.start
                                    wattlog_esp32.uart wattlog_esp32.unset
firmware/wattlog_esp32/unset.py     machine os wattlog_esp32.offline wattlog_esp32.partial
                                    wattlog_esp32.provision wattlog_esp32.start
firmware/wattlog_esp32/partial.py   json os wattlog_esp32.settings
firmware/wattlog_esp32/offline.py   esp32 machine os random time wattlog.agent wattlog.compat
                                    wattlog.records wattlog.ringlog wattlog.timebase
                                    wattlog.uplink wattlog_esp32.uart
firmware/wattlog_esp32/provision.py  gc machine micropython network os select sys time wattlog
                                    wattlog.compat wattlog.diagnosis wattlog.framing
                                    wattlog.timebase wattlog_esp32.improv wattlog_esp32.partial
                                    wattlog_esp32.portal
                                    wattlog_esp32.settings
firmware/wattlog_esp32/portal.py    errno json os socket wattlog.compat wattlog_esp32.page
                                    wattlog_esp32.request wattlog_esp32.settings
firmware/wattlog_esp32/page.py      wattlog_esp32.partial wattlog_esp32.settings
firmware/wattlog_esp32/request.py   wattlog.compat
firmware/wattlog_esp32/improv.py    wattlog.compat
tools/wattlog_sim/bench_log_device.py  gc json wattlog.ramdevice wattlog.ringlog
tools/wattlog_sim/bench_device.py   gc json sys time wattlog.decoder wattlog.framing
                                    wattlog.reading wattlog.sml

[board]
tools/wattlog_sim/board/boot_board.py  ffi os sys uctypes vfs
tools/wattlog_sim/board/flash/boot_flash.py  esp32 gc os sys vfs
tools/wattlog_sim/board/flash/esp32.py  errno ffi os struct
tools/wattlog_sim/board/esp32.py       errno os
tools/wattlog_sim/board/fakeap.py      fakeserver network os
tools/wattlog_sim/board/fakepin.py     ffi micropython os struct sys time
tools/wattlog_sim/board/fakeserver.py  errno os socket
tools/wattlog_sim/board/machine.py     ffi io os struct sys termios
tools/wattlog_sim/board/network.py     os
tools/wattlog_sim/board/ntptime.py     errno os time
tools/wattlog_sim/board/socket.py      io socket sys
tools/wattlog_sim/board/time.py        sys time

[both]
tools/wattlog_sim/__init__.py
tools/wattlog_sim/house.py       collections
tools/wattlog_sim/sml_writer.py  wattlog.crc
tools/wattlog_sim/registers.py   wattlog_sim.house wattlog_sim.sml_writer
tools/wattlog_sim/lcg.py
tools/wattlog_sim/mutate.py      array collections wattlog_sim.lcg wattlog_sim.sml_writer
tools/wattlog_sim/flash.py       wattlog_sim.lcg
tools/wattlog_sim/log_oracle.py  collections
tools/wattlog_sim/log_follower.py
tools/wattlog_sim/log_life.py    collections wattlog.ringsector wattlog_sim.flash wattlog_sim.lcg
                                 wattlog_sim.log_oracle
tools/wattlog_sim/log_lab.py     errno wattlog.ringlog wattlog_sim.flash wattlog_sim.lcg
                                 wattlog_sim.log_follower wattlog_sim.log_life
                                 wattlog_sim.log_oracle
tools/wattlog_sim/decoder_check.py  json wattlog.decoder wattlog.framing wattlog.layout
                                    wattlog.reading wattlog.sml wattlog_sim.mutate
tools/wattlog_sim/meters.py      collections wattlog_sim.house wattlog_sim.registers
                                 wattlog_sim.sml_writer

[cpython]
agent/wattlog_pi/__init__.py
agent/wattlog_pi/__main__.py       wattlog_pi.cli
agent/wattlog_pi/app.py            wattlog.agent wattlog.records wattlog_pi.heart wattlog_pi.log
                                   wattlog_pi.mqtt_link wattlog_pi.notify
                                   wattlog_pi.serial_source
                                   wattlog_pi.settings wattlog_pi.system_clock
agent/wattlog_pi/cli.py            wattlog wattlog.config wattlog_pi.app wattlog_pi.decode
                                   wattlog_pi.installing wattlog_pi.service_command
                                   wattlog_pi.settings
agent/wattlog_pi/installing.py     wattlog.config
agent/wattlog_pi/service_command.py wattlog_pi.installing wattlog_pi.settings
agent/wattlog_pi/decode.py         wattlog.channels wattlog.config wattlog.decoder
                                   wattlog.diagnosis wattlog.layout wattlog.reading wattlog.sml
                                   wattlog_pi.serial_source
agent/wattlog_pi/file_device.py    wattlog.ports
agent/wattlog_pi/heart.py          wattlog.agent wattlog.ports wattlog_esp32.pulse wattlog_pi.notify
agent/wattlog_pi/notify.py
agent/wattlog_pi/log.py            wattlog.config wattlog.ports wattlog.ramdevice wattlog.ringlog
                                   wattlog_pi.file_device
agent/wattlog_pi/mqtt_link.py      paho.* wattlog.records wattlog.uplink wattlog_pi.settings
agent/wattlog_pi/serial_source.py  serial wattlog.ports wattlog.uplink
agent/wattlog_pi/credentials.py
agent/wattlog_pi/settings.py       wattlog.config wattlog_pi.credentials
agent/wattlog_pi/system_clock.py

host/wattlog_host/__init__.py
host/wattlog_host/__main__.py      wattlog_host.cli
host/wattlog_host/announce/__init__.py
host/wattlog_host/announce/announcer.py wattlog_host.announce.config
                                   wattlog_host.announce.homeassistant
                                   wattlog_host.announce.inverters
                                   wattlog_host.announce.topics wattlog_host.announce.views
                                   wattlog_host.dess.shown wattlog_host.live
host/wattlog_host/announce/backfill.py wattlog_host.announce.config wattlog_host.announce.missed
                                   wattlog_host.announce.recorder wattlog_host.announce.views
                                   wattlog_host.dess.config wattlog_host.history.columns
                                   wattlog_host.store.records wattlog_host.units
host/wattlog_host/announce/config.py wattlog.config wattlog.live wattlog_host.dess.config
host/wattlog_host/announce/homeassistant.py wattlog.channels wattlog_host.announce.topics
                                   wattlog_host.announce.views wattlog_host.live
                                   wattlog_host.status wattlog_host.units
host/wattlog_host/announce/inverters.py wattlog_host.announce.homeassistant
                                   wattlog_host.announce.topics wattlog_host.announce.views
                                   wattlog_host.clock wattlog_host.dess.mapping
                                   wattlog_host.dess.sensors wattlog_host.dess.shown
host/wattlog_host/announce/missed.py
host/wattlog_host/announce/recorder.py websockets.* wattlog_host.announce.missed
host/wattlog_host/announce/service.py wattlog_host.announce.announcer wattlog_host.announce.topics
                                   wattlog_host.dess.shown wattlog_host.live
host/wattlog_host/announce/topics.py
host/wattlog_host/announce/views.py wattlog_host.clock wattlog_host.live wattlog_host.status
                                   wattlog_host.store.records wattlog_host.units
host/wattlog_host/app.py           prometheus_client.* uvicorn wattlog
                                   wattlog_host.access.devices
                                   wattlog_host.alerts wattlog_host.alerts.sending
                                   wattlog_host.alerts.service
                                   wattlog_host.access.kept wattlog_host.announce.announcer
                                   wattlog_host.announce.backfill
                                   wattlog_host.announce.service wattlog_host.backup.keeper
                                   wattlog_host.broker wattlog_host.clock wattlog_host.dess.panel
                                   wattlog_host.dess.parts wattlog_host.dess.service
                                   wattlog_host.dess.shown
                                   wattlog_host.errands wattlog_host.intake wattlog_host.live
                                   wattlog_host.mqtt wattlog_host.settings wattlog_host.snapshot
                                   wattlog_host.store.lookup wattlog_host.store.records
                                   wattlog_host.store.store wattlog_host.stream
                                   wattlog_host.updates wattlog_host.web.app
                                   wattlog_host.web.connection wattlog_host.web.door
                                   wattlog_host.web.entrance wattlog_host.web.questions
                                   wattlog_pi.notify wattlog_pi.system_clock
                                   wattlog_host.store.role
host/wattlog_host/access/__init__.py
host/wattlog_host/access/accounts.py  wattlog_host.access.*
host/wattlog_host/access/attempts.py
host/wattlog_host/access/commands.py  wattlog_host.access.* wattlog_host.command
                                   wattlog_host.settings
                                   wattlog_pi.credentials
host/wattlog_host/access/devices.py   wattlog_host.access.* wattlog_host.bounds
host/wattlog_host/access/kept.py      wattlog_host.private_file
host/wattlog_host/access/passwords.py argon2
host/wattlog_host/access/recipes.py wattlog_host.access.topics wattlog_host.announce.topics
host/wattlog_host/access/secrets.py
host/wattlog_host/access/sessions.py  wattlog_host.access.secrets wattlog_host.private_file
host/wattlog_host/access/topics.py    wattlog_host.bounds
host/wattlog_host/certificate.py
host/wattlog_host/private_file.py
host/wattlog_host/bounds.py        msgpack
host/wattlog_host/broker.py        amqtt.* prometheus_client wattlog_host.access.devices
                                   wattlog_host.bounds
                                   wattlog_host.certificate
host/wattlog_host/cli.py wattlog wattlog.config wattlog_host.access.kept wattlog_host.alerts
                                   wattlog_host.alerts.sending
                                   wattlog_host.access.passwords
                                   wattlog_host.app wattlog_host.clock wattlog_host.command
                                   wattlog_host.commands wattlog_host.dess.cli
                                   wattlog_host.importing.rows wattlog_host.ownership
                                   wattlog_host.settings wattlog_host.store.records
                                   wattlog_pi.installing
host/wattlog_host/ownership.py
host/wattlog_host/service_command.py wattlog_host.command wattlog_host.settings
                                   wattlog_pi.installing
host/wattlog_host/command.py wattlog_host.settings
host/wattlog_host/commands.py wattlog_host.access.commands wattlog_host.alerts.commands
                                   wattlog_host.backup.* wattlog_host.clock
                                   wattlog_host.command wattlog_host.export_command
                                   wattlog_host.service_command
                                   wattlog_host.store.rebuilding
                                   wattlog_host.importing.command wattlog_host.moving.command
                                   wattlog_host.progress
                                   wattlog_host.settings wattlog_host.store.records
                                   wattlog_host.worker
host/wattlog_host/export_command.py pyarrow wattlog_host.history.columns
                                   wattlog_host.history.export wattlog_host.history.times
                                   wattlog_host.history.zone
                                   wattlog_host.progress wattlog_host.settings
                                   wattlog_host.store.reader wattlog_host.store.records
host/wattlog_host/history/export.py wattlog.channels wattlog_host.history.columns
                                   wattlog_host.history.zone
                                   wattlog_host.units
host/wattlog_host/importing/__init__.py
host/wattlog_host/importing/command.py sqlalchemy.* wattlog wattlog.sml wattlog_host.importing.*
                                   wattlog_host.history.zone
                                   wattlog_host.progress wattlog_host.settings wattlog_host.store.*
host/wattlog_host/importing/csv_file.py wattlog_host.history.zone wattlog_host.importing.local_time
                                   wattlog_host.importing.rows wattlog_host.units
host/wattlog_host/importing/energy_monitor.py wattlog_host.history.zone
                                   wattlog_host.importing.local_time
                                   wattlog_host.importing.rows
host/wattlog_host/importing/importer.py sqlalchemy.* wattlog_host.history.rollup
                                   wattlog_host.importing.packing wattlog_host.importing.rows
                                   wattlog_host.ingest wattlog_host.placing
                                   wattlog_host.store.imports wattlog_host.store.records
host/wattlog_host/importing/local_time.py wattlog_host.history.zone
host/wattlog_host/importing/packing.py msgpack wattlog.reading wattlog.records
                                   wattlog_host.importing.rows wattlog_host.store.records
                                   wattlog_host.wire
host/wattlog_host/importing/rows.py wattlog.channels wattlog_host.units
host/wattlog_host/progress.py
host/wattlog_host/moving/__init__.py
host/wattlog_host/moving/command.py sqlalchemy wattlog_host.moving.move wattlog_host.progress
                                   wattlog_host.settings
                                   wattlog_host.store.records
host/wattlog_host/moving/move.py   sqlalchemy.* wattlog_host.moving.rows
                                   wattlog_host.moving.source wattlog_host.moving.target
                                   wattlog_host.store.records
host/wattlog_host/moving/rows.py   sqlalchemy.* wattlog_host.store.tables
                                   wattlog_host.store.days
host/wattlog_host/moving/source.py sqlalchemy.* wattlog_host.backup.copying
                                   wattlog_host.moving.rows wattlog_host.store.*
host/wattlog_host/moving/target.py sqlalchemy.* wattlog_host.moving.rows
                                   wattlog_host.moving.source wattlog_host.store.*
host/wattlog_host/backup/__init__.py
host/wattlog_host/backup/copying.py wattlog_host.store.database wattlog_host.store.records
host/wattlog_host/backup/keeper.py wattlog_host.backup.copying wattlog_host.backup.rotation
                                   wattlog_host.settings
host/wattlog_host/backup/restoring.py wattlog_host.backup.copying wattlog_host.backup.rotation
                                   wattlog_host.store.database wattlog_host.store.records
host/wattlog_host/backup/rotation.py
host/wattlog_host/clock.py
host/wattlog_host/desk.py          wattlog.records wattlog_host.bounds wattlog_host.gaps wattlog_host.live
                                   wattlog_host.status wattlog_host.store.records
                                   wattlog_host.wire wattlog_pi.system_clock
host/wattlog_host/eyes.py        msgpack wattlog_host.bounds
host/wattlog_host/gaps.py
host/wattlog_host/ingest.py        wattlog.channels wattlog.recordreader wattlog.records
                                   wattlog_host.gaps wattlog_host.placing wattlog_host.units
                                   wattlog_host.wire wattlog_pi.system_clock
host/wattlog_host/intake.py        wattlog_host.desk wattlog_host.live wattlog_host.store.records
                                   wattlog_pi.system_clock
host/wattlog_host/forecast.py
host/wattlog_host/live.py          wattlog.sml wattlog_host.backup.rotation wattlog_host.forecast
                                   wattlog_host.ingest wattlog_host.placing
                                   wattlog_host.status wattlog_host.store.records
                                   wattlog_host.wire
host/wattlog_host/mqtt.py          aiomqtt wattlog_host.access.topics wattlog_host.settings
host/wattlog_host/placing.py
host/wattlog_host/settings.py      sqlalchemy sqlalchemy.* wattlog.config wattlog_host.alerts
                                   wattlog_host.alerts.config
                                   wattlog_host.announce.config wattlog_host.backup.rotation
                                   wattlog_host.certificate wattlog_host.dess.config
                                   wattlog_host.history.zone wattlog_host.house_settings
                                   wattlog_pi.credentials
                                   wattlog_host.bounds
host/wattlog_host/snapshot.py wattlog.sml wattlog_host.backup.rotation wattlog_host.clock
                                   wattlog_host.gaps
                                   wattlog_host.live wattlog_host.status
                                   wattlog_host.store.records wattlog_host.units
host/wattlog_host/status.py        wattlog_host.bounds
host/wattlog_host/stream.py
host/wattlog_host/units.py         wattlog.channels
host/wattlog_host/updates.py       msgpack wattlog_host.bounds wattlog_host.status
                                   wattlog_host.wire
host/wattlog_host/wire.py          msgpack wattlog.recordreader wattlog_host.bounds
host/wattlog_host/wishes.py
host/wattlog_host/house_settings.py  wattlog.config wattlog_host.history.tariff
                                     wattlog_host.history.zone
host/wattlog_host/history/__init__.py
host/wattlog_host/history/answers.py  wattlog_host.history.book wattlog_host.history.columns
                                     wattlog_host.history.days wattlog_host.history.energy
                                     wattlog_host.history.figures wattlog_host.history.gauge
                                     wattlog_host.history.house wattlog_host.history.tariff
                                     wattlog_host.history.zone
host/wattlog_host/history/blocks.py
host/wattlog_host/history/book.py  wattlog_host.history.changes wattlog_host.history.columns
                                     wattlog_host.history.energy wattlog_host.history.house
                                     wattlog_host.history.powers wattlog_host.history.tariff
                                     wattlog_host.history.zone
host/wattlog_host/history/changes.py
host/wattlog_host/history/columns.py
host/wattlog_host/history/days.py  wattlog_host.history.columns wattlog_host.history.figures
                                     wattlog_host.history.house
host/wattlog_host/history/energy.py  wattlog_host.history.columns
host/wattlog_host/history/figures.py  wattlog_host.history.book wattlog_host.history.columns
                                     wattlog_host.history.energy wattlog_host.history.house
                                     wattlog_host.history.tariff wattlog_host.history.zone
host/wattlog_host/history/gauge.py  wattlog_host.history.columns wattlog_host.history.energy
                                     wattlog_host.history.house wattlog_host.history.zone
                                     wattlog_host.units
host/wattlog_host/history/house.py  wattlog_host.history.columns wattlog_host.units
host/wattlog_host/history/powers.py  wattlog_host.history.changes wattlog_host.history.columns
                                     wattlog_host.history.energy wattlog_host.history.gauge
                                     wattlog_host.history.house
host/wattlog_host/history/rollup.py  wattlog_host.history.blocks wattlog_host.history.columns
host/wattlog_host/history/tariff.py  wattlog_host.history.zone
host/wattlog_host/history/times.py  wattlog_host.history.zone
host/wattlog_host/history/zone.py
host/wattlog_host/store/__init__.py
host/wattlog_host/store/batches.py  sqlalchemy.* wattlog.sml wattlog_host.gaps
                                     wattlog_host.ingest wattlog_host.placing
                                     wattlog_host.store.kin
                                     wattlog_host.store.logs wattlog_host.store.lookup
                                     wattlog_host.store.places wattlog_host.store.records
                                    wattlog_host.store.due wattlog_host.store.tables
                                   wattlog_host.wire wattlog_pi.system_clock
                                   wattlog_host.store.sharing wattlog_host.store.many
                                   wattlog_host.store.days
host/wattlog_host/store/due.py     sqlalchemy.* wattlog_host.history.columns
                                   wattlog_host.history.rollup wattlog_host.store.tables
host/wattlog_host/store/unfinished.py sqlalchemy.* wattlog_host.store.records
host/wattlog_host/store/sizes.py   sqlalchemy.* wattlog_host.forecast
                                   wattlog_host.store.tables
                                   wattlog_host.store.days
host/wattlog_host/store/imports.py sqlalchemy.* wattlog_host.history.blocks
                                   wattlog_host.history.columns wattlog_host.history.rollup
                                   wattlog_host.store.due
                                   wattlog_host.store.rollups wattlog_host.store.tables
                                   wattlog_host.store.days
host/wattlog_host/store/kinds.py sqlalchemy.* wattlog_host.store.database
                                   wattlog_host.store.postgres
                                   wattlog_host.store.role
host/wattlog_host/store/postgres.py sqlalchemy.* wattlog_host.store.records
                                   wattlog_host.store.sharing wattlog_host.store.role
host/wattlog_host/store/kin.py       sqlalchemy.* wattlog_host.ingest wattlog_host.store.logs
                                     wattlog_host.store.lookup wattlog_host.store.tables
                                     wattlog_host.wire wattlog_pi.system_clock
host/wattlog_host/store/logs.py      sqlalchemy.* wattlog_host.gaps wattlog_host.ingest
                                     wattlog_host.placing wattlog_host.store.many
                                     wattlog_host.store.tables
                                   wattlog_host.store.sharing
                                   wattlog_host.store.days
host/wattlog_host/store/database.py  alembic.* sqlalchemy.* wattlog_host.store.records
                                   wattlog_host.store.sharing
                                   wattlog_host.store.days
                                     wattlog_host.store.tables wattlog_host.store.unfinished
host/wattlog_host/store/lookup.py    msgpack sqlalchemy.* wattlog.recordreader wattlog_host.gaps
                                     wattlog_host.ingest wattlog_host.placing
                                     wattlog_host.store.records wattlog_host.store.tables
                                     wattlog_host.wire
                                   wattlog_host.store.days
host/wattlog_host/store/places.py sqlalchemy.* wattlog_host.bounds wattlog_host.ingest
                                   wattlog_host.placing wattlog_host.store.lookup
                                   wattlog_host.store.due wattlog_host.store.tables
                                   wattlog_host.store.days wattlog_host.store.many
                                   wattlog_host.store.logs
host/wattlog_host/store/reader.py sqlalchemy.* wattlog_host.history.columns
                                   wattlog_host.store.kinds
                                   wattlog_host.store.database wattlog_host.store.history
                                   wattlog_host.store.records
host/wattlog_host/store/records.py   wattlog_host.wire wattlog_pi.system_clock
host/wattlog_host/store/precedence.py
host/wattlog_host/store/role.py
host/wattlog_host/store/days.py  sqlalchemy.* wattlog_host.store.many
                                   wattlog_host.store.tables
host/wattlog_host/store/many.py  sqlalchemy.*
host/wattlog_host/store/sharing.py  sqlalchemy.* wattlog_host.store.records
                                   wattlog_host.store.role wattlog_host.store.tables
host/wattlog_host/store/others.py  sqlalchemy.* wattlog_host.store.lookup
                                   wattlog_host.store.records wattlog_host.store.tables
                                   wattlog_host.store.days
host/wattlog_host/store/store.py prometheus_client.* sqlalchemy.* wattlog_host.forecast
                                   wattlog_host.history.changes
                                   wattlog_host.store.kinds
                                   wattlog_host.history.columns wattlog_host.store.records
                                   wattlog_host.store.writer
                                   wattlog_host.store.role wattlog_host.store.others
                                   wattlog_host.store.rollups
host/wattlog_host/store/tables.py    sqlalchemy.*
host/wattlog_host/store/writer.py  sqlalchemy.* wattlog_host.forecast wattlog_host.history.changes
                                   wattlog_host.store.kinds wattlog_host.store.precedence
                                     wattlog_host.history.columns wattlog_host.store.batches
                                     wattlog_host.store.database wattlog_host.store.due
                                     wattlog_host.store.history
                                     wattlog_host.store.lookup wattlog_host.store.records
                                     wattlog_host.store.retention wattlog_host.store.rollups
                                     wattlog_host.store.sizes
                                     wattlog_host.store.tables
                                   wattlog_host.store.role
                                   wattlog_host.store.days
host/wattlog_host/store/history.py  sqlalchemy.* wattlog_host.history.blocks
                                     wattlog_host.history.columns wattlog_host.store.lookup
                                     wattlog_host.store.rollups wattlog_host.store.tables
                                   wattlog_host.store.days
host/wattlog_host/store/rebuilding.py  wattlog wattlog_host.store.kinds
                                     wattlog_host.store.writer
host/wattlog_host/store/retention.py  sqlalchemy.* wattlog_host.history.columns
                                     wattlog_host.history.rollup wattlog_host.store.due
                                     wattlog_host.store.tables
                                   wattlog_host.store.days
host/wattlog_host/store/rollups.py  sqlalchemy.* wattlog.channels wattlog.recordreader
                                     wattlog_host.store.due wattlog_host.history.blocks
                                     wattlog_host.history.columns wattlog_host.history.rollup
                                     wattlog_host.ingest wattlog_host.store.lookup
                                     wattlog_host.store.tables wattlog_host.units
                                   wattlog_host.store.sharing wattlog_host.store.many
                                   wattlog_host.store.days
host/wattlog_host/store/migrations/__init__.py
host/wattlog_host/store/migrations/env.py  alembic.* wattlog_host.store.tables
host/wattlog_host/store/migrations/versions/__init__.py
host/wattlog_host/store/migrations/versions/v0004_rollups.py  alembic.* sqlalchemy.*
host/wattlog_host/store/migrations/versions/v0006_solar.py  alembic.* sqlalchemy.*
host/wattlog_host/store/migrations/versions/v0001_first_tables.py  alembic.* sqlalchemy.*
host/wattlog_host/store/migrations/versions/v0002_batches_by_log.py  alembic.* msgpack
                                                                     sqlalchemy.*
host/wattlog_host/store/migrations/versions/v0003_sure_clocks.py  alembic.* sqlalchemy.*
host/wattlog_host/store/migrations/versions/v0007_writers_of_a_cell.py  alembic.* sqlalchemy.*
host/wattlog_host/store/migrations/versions/v0008_days.py  alembic.* sqlalchemy.*
                                                                     wattlog_host.store.days
host/wattlog_host/store/migrations/versions/v0005_due_and_sizes.py  alembic.* sqlalchemy.*
host/wattlog_host/alerts/__init__.py
host/wattlog_host/alerts/commands.py  wattlog.config wattlog_host.alerts
                                   wattlog_host.alerts.sending wattlog_host.alerts.words
                                   wattlog_host.command wattlog_host.settings
host/wattlog_host/alerts/config.py  wattlog.config wattlog_host.alerts.rules
                                   wattlog_host.web.languages
host/wattlog_host/alerts/kept.py   wattlog_host.alerts wattlog_host.alerts.ledger
                                   wattlog_host.alerts.outbox wattlog_host.alerts.rhythm
                                   wattlog_host.alerts.words wattlog_host.history.zone
                                   wattlog_host.private_file wattlog_host.web.languages
host/wattlog_host/alerts/ledger.py  wattlog_host.alerts.rules wattlog_host.alerts.typed
host/wattlog_host/alerts/nights.py  wattlog_host.history.gauge wattlog_host.history.zone
host/wattlog_host/alerts/outbox.py  wattlog_host.alerts.ledger wattlog_host.alerts.typed
host/wattlog_host/alerts/post.py   apprise
host/wattlog_host/alerts/rhythm.py  wattlog_host.alerts.typed
host/wattlog_host/alerts/rules.py  wattlog_host.alerts.nights wattlog_host.alerts.rhythm
                                   wattlog_host.dess.shown wattlog_host.live
host/wattlog_host/alerts/sending.py  wattlog.config wattlog_host.alerts.config
host/wattlog_host/alerts/service.py  wattlog_host.alerts wattlog_host.alerts.config
                                   wattlog_host.alerts.kept wattlog_host.alerts.nights
                                   wattlog_host.alerts.outbox wattlog_host.alerts.rhythm
                                   wattlog_host.alerts.rules wattlog_host.alerts.words
                                   wattlog_host.dess.shown
                                   wattlog_host.history wattlog_host.history.columns
                                   wattlog_host.history.gauge wattlog_host.history.house
                                   wattlog_host.history.zone wattlog_host.live
                                   wattlog_host.store.records wattlog_host.web.languages
host/wattlog_host/alerts/typed.py
host/wattlog_host/alerts/words.py  wattlog_host.alerts.config wattlog_host.alerts.ledger
                                   wattlog_host.history.zone wattlog_host.web.languages
host/wattlog_host/web/__init__.py
host/wattlog_host/web/alarms.py    starlette.* wattlog_host.alerts.service
                                   wattlog_host.web.door wattlog_host.web.languages
                                   wattlog_host.web.login
host/wattlog_host/web/app.py       prometheus_client.* starlette.* wattlog_host.dess.panel
                                   wattlog_host.dess.web
                                   wattlog_host.dess.web_settings wattlog_host.history.changes
                                   wattlog_host.live wattlog_host.stream wattlog_host.web.alarms
                                   wattlog_host.web.api wattlog_host.web.door
                                   wattlog_host.web.first
                                   wattlog_host.web.guard wattlog_host.web.login
                                   wattlog_host.web.metrics wattlog_host.web.pages
                                   wattlog_host.web.questions wattlog_host.web.solar
host/wattlog_host/web/assets.py starlette.*
host/wattlog_host/web/connection.py  uvicorn.*
host/wattlog_host/web/first.py     wattlog_host.history.answers wattlog_host.store.records
                                   wattlog_host.web wattlog_host.web.api wattlog_host.web.gate
                                   wattlog_host.web.pages wattlog_host.web.questions
                                   wattlog_host.web.shapes
host/wattlog_host/web/door.py      starlette.* wattlog_host.access.*
host/wattlog_host/web/entrance.py  wattlog_host.access.accounts wattlog_host.access.kept
                                   wattlog_host.access.sessions
                                   wattlog_host.settings wattlog_host.web.door
host/wattlog_host/web/login.py     starlette.* wattlog_host.access.attempts wattlog_host.web.door
host/wattlog_host/web/guard.py     starlette.* wattlog_host.access.attempts
                                   wattlog_host.access.secrets wattlog_host.web.door
                                   wattlog_host.web.login
host/wattlog_host/web/languages.py
host/wattlog_host/web/pages.py     jinja2 starlette.* wattlog_host.live wattlog_host.snapshot
                                   wattlog_host.web.alarms wattlog_host.web.assets
                                   wattlog_host.web.door
                                   wattlog_host.web.guard wattlog_host.web.languages
                                   wattlog_host.web.login
host/wattlog_host/web/api.py  starlette.* wattlog_host.clock wattlog_host.history.answers
                                     wattlog_host.history.book wattlog_host.history.changes
                                     wattlog_host.history.columns wattlog_host.history.house
                                     wattlog_host.live wattlog_host.snapshot
                                     wattlog_host.store.records wattlog_host.stream
                                     wattlog_host.units wattlog_host.web.alarms
                                     wattlog_host.web.asking
                                     wattlog_host.web.door wattlog_host.web.exports
                                     wattlog_host.web.gate wattlog_host.web.languages
                                     wattlog_host.web.openapi
                                     wattlog_host.web.questions wattlog_host.web.schemas
host/wattlog_host/web/asking.py  wattlog_host.history.times wattlog_host.history.zone
host/wattlog_host/web/exports.py     starlette.* wattlog_host.history.answers
                                     wattlog_host.history.export wattlog_host.history.zone
                                     wattlog_host.web.asking wattlog_host.web.gate
host/wattlog_host/web/gate.py
host/wattlog_host/web/metrics.py   prometheus_client.* starlette.* wattlog.channels
                                   wattlog_host.live wattlog_host.snapshot wattlog_host.units
host/wattlog_host/web/openapi.py  wattlog_host.web.asking wattlog_host.web.schemas
host/wattlog_host/web/questions.py  wattlog_host.history.answers wattlog_host.history.days
                                     wattlog_host.history.gauge wattlog_host.history.house
                                     wattlog_host.history.tariff wattlog_host.history.zone
                                     wattlog_host.units wattlog_host.web.asking
                                     wattlog_host.web.schemas wattlog_host.web.shapes
host/wattlog_host/web/schemas.py
host/wattlog_host/web/shapes.py    wattlog.channels wattlog_host.history.answers
                                   wattlog_host.history.columns wattlog_host.history.energy
                                   wattlog_host.history.figures wattlog_host.history.gauge
                                   wattlog_host.history.house wattlog_host.history.tariff
                                   wattlog_host.history.zone wattlog_host.units
                                   wattlog_host.web.languages
host/wattlog_host/web/solar_schemas.py  wattlog_host.web.schemas
host/wattlog_host/web/solar.py  starlette.* wattlog_host.dess.panel wattlog_host.dess.quarters
                                     wattlog_host.history.answers wattlog_host.history.zone
                                     wattlog_host.house wattlog_host.picture
                                     wattlog_host.store.records wattlog_host.web.api
                                     wattlog_host.web.asking wattlog_host.web.gate
                                     wattlog_host.web.openapi wattlog_host.web.pages
                                     wattlog_host.web.solar_schemas

host/wattlog_host/dess/__init__.py
host/wattlog_host/dess/analyze.py  wattlog_host.dess.controls wattlog_host.dess.devcodes
                                     wattlog_host.dess.mapping wattlog_host.dess.model
                                     wattlog_host.dess.parsing wattlog_host.dess.sensors
host/wattlog_host/dess/api.py  wattlog_host.dess.client wattlog_host.dess.errors
                                     wattlog_host.dess.model wattlog_host.dess.parsing
host/wattlog_host/dess/cli.py  wattlog.config wattlog_host.clock wattlog_host.dess.analyze
                                     wattlog_host.dess.api wattlog_host.dess.client
                                     wattlog_host.dess.config wattlog_host.dess.controls
                                     wattlog_host.dess.devcodes wattlog_host.dess.errors
                                     wattlog_host.dess.mapping wattlog_host.dess.model
                                     wattlog_host.dess.parsing wattlog_host.dess.parts
                                     wattlog_host.dess.shown wattlog_host.dess.topology
                                     wattlog_host.settings
host/wattlog_host/dess/client.py  wattlog_host.dess.errors wattlog_host.dess.parsing
                                     wattlog_host.dess.signing wattlog_host.dess.tokens
host/wattlog_host/dess/config.py  wattlog.config wattlog_host.dess.client
                                     wattlog_host.dess.devcodes
host/wattlog_host/dess/controls.py  wattlog_host.dess.api wattlog_host.dess.client
                                     wattlog_host.dess.errors wattlog_host.dess.model
                                     wattlog_host.dess.parsing
host/wattlog_host/dess/counters.py
host/wattlog_host/dess/devcodes.py  wattlog.config wattlog_host.dess.sensors
                                     wattlog_host.dess.units
host/wattlog_host/dess/errors.py
host/wattlog_host/dess/ledger.py  sqlalchemy.* wattlog_host.dess.counters
                                     wattlog_host.dess.mapping wattlog_host.dess.model
                                     wattlog_host.dess.packed wattlog_host.dess.quarters
                                     wattlog_host.store.tables
host/wattlog_host/dess/mapping.py  wattlog_host.dess.devcodes wattlog_host.dess.parsing
                                     wattlog_host.dess.sensors wattlog_host.dess.units
host/wattlog_host/dess/model.py  wattlog_host.dess.parsing
host/wattlog_host/dess/packed.py  msgpack
host/wattlog_host/dess/parsing.py  wattlog_host.dess.errors
host/wattlog_host/dess/parts.py  wattlog_host.clock wattlog_host.dess.client
                                     wattlog_host.dess.config wattlog_host.dess.controls
                                     wattlog_host.dess.devcodes wattlog_host.dess.poller
                                     wattlog_host.dess.service wattlog_host.dess.tokens
                                     wattlog_host.dess.transport wattlog_host.dess.panel
                                     wattlog_host.dess.worker
host/wattlog_host/dess/poller.py  wattlog_host.dess.errors wattlog_host.dess.model
                                     wattlog_host.dess.parsing wattlog_host.dess.topology
host/wattlog_host/dess/powers.py  wattlog_host.dess.mapping
host/wattlog_host/dess/quarters.py  sqlalchemy.* wattlog_host.dess.counters
                                     wattlog_host.dess.packed wattlog_host.dess.powers
                                     wattlog_host.store.tables
host/wattlog_host/dess/sensors.py
host/wattlog_host/dess/service.py  sqlalchemy.* wattlog_host.dess.ledger wattlog_host.dess.quarters wattlog_host.dess.worker
                                     wattlog_host.store.records
host/wattlog_host/dess/shown.py  wattlog_host.dess.controls wattlog_host.dess.mapping
                                     wattlog_host.dess.parsing
host/wattlog_host/dess/signing.py
host/wattlog_host/dess/tokens.py   wattlog_host.private_file
host/wattlog_host/dess/topology.py  wattlog_host.dess.api wattlog_host.dess.client
                                     wattlog_host.dess.errors wattlog_host.dess.model
host/wattlog_host/dess/transport.py  requests.* urllib3.* wattlog_host.dess.errors
host/wattlog_host/dess/units.py
host/wattlog_host/dess/panel.py  sqlalchemy.* wattlog_host.clock wattlog_host.dess.controls
                                     wattlog_host.dess.counters wattlog_host.dess.ledger
                                     wattlog_host.dess.mapping wattlog_host.dess.model
                                     wattlog_host.dess.powers wattlog_host.dess.shown
                                     wattlog_host.dess.worker
host/wattlog_host/dess/web.py  starlette.* wattlog_host.dess.errors wattlog_host.dess.ledger
                                     wattlog_host.dess.panel wattlog_host.dess.shown
                                     wattlog_host.dess.web_settings wattlog_host.history.zone
                                     wattlog_host.store.records wattlog_host.web.asking
                                     wattlog_host.web.openapi wattlog_host.web.solar_schemas
host/wattlog_host/dess/web_settings.py starlette.* wattlog_host.access.secrets
                                   wattlog_host.dess.api wattlog_host.dess.config
                                   wattlog_host.dess.controls wattlog_host.dess.panel
                                   wattlog_host.dess.shown wattlog_host.web.asking
                                   wattlog_host.web.door
host/wattlog_host/dess/worker.py  wattlog_host.dess.api wattlog_host.dess.client
                                     wattlog_host.dess.history
                                     wattlog_host.dess.devcodes wattlog_host.dess.errors
                                     wattlog_host.dess.ledger wattlog_host.dess.mapping
                                     wattlog_host.dess.model wattlog_host.dess.parsing
                                     wattlog_host.dess.poller wattlog_host.dess.topology
host/wattlog_host/dess/history.py  wattlog_host.dess.devcodes wattlog_host.dess.ledger
                                     wattlog_host.dess.mapping wattlog_host.dess.model
                                     wattlog_host.dess.parsing wattlog_host.dess.sensors
                                     wattlog_host.dess.units
host/wattlog_host/worker.py  wattlog wattlog.config wattlog_host.app wattlog_host.clock
                                   wattlog_host.errands wattlog_host.intake wattlog_host.live
                                   wattlog_host.mqtt wattlog_host.settings
                                   wattlog_host.store.records wattlog_host.store.role
                                   wattlog_host.store.store wattlog_pi.notify
                                   wattlog_pi.system_clock
host/wattlog_host/errands.py       wattlog_pi.notify wattlog_host.backup.keeper wattlog_host.clock
                                   wattlog_host.forecast wattlog_host.live wattlog_host.mqtt
                                   wattlog_host.settings wattlog_host.store.records
                                   wattlog_host.store.store wattlog_host.stream
                                   wattlog_host.updates wattlog_host.wire wattlog_host.wishes
                                   wattlog_host.store.others
host/wattlog_host/house.py
host/wattlog_host/picture.py  wattlog_host.dess.mapping wattlog_host.dess.powers
                                     wattlog_host.dess.quarters wattlog_host.history.answers
                                     wattlog_host.history.columns wattlog_host.history.energy
                                     wattlog_host.history.gauge wattlog_host.history.house
                                     wattlog_host.house wattlog_host.units

tools/setup/fetch_umqtt.py
tools/wattlog_sim/dess/__init__.py
tools/wattlog_sim/dess/cloud.py  wattlog_sim.dess.points wattlog_sim.dess.solar
tools/wattlog_sim/dess/points.py  wattlog_sim.dess.solar
tools/wattlog_sim/dess/server.py  wattlog_sim.dess.cloud
tools/wattlog_sim/dess/solar.py
tools/wattlog_sim/world/__init__.py
tools/wattlog_sim/world/clock.py
tools/wattlog_sim/world/net.py     wattlog.uplink
tools/wattlog_sim/world/meter.py   wattlog.decoder wattlog.reading wattlog_sim.house
                                   wattlog_sim.meters
tools/wattlog_sim/world/edge.py    wattlog wattlog.agent wattlog.live wattlog.records
                                   wattlog.ringlog wattlog.uplink wattlog_sim.flash
                                   wattlog_sim.world.net
tools/wattlog_sim/world/wire_check.py    msgpack wattlog.reading wattlog.records wattlog_host.* wattlog_pi.system_clock
                                   wattlog_sim.mutate
                                   wattlog_host.store.records
tools/wattlog_sim/world/host.py    sqlalchemy.* wattlog_host.desk wattlog_host.live
                                   wattlog_host.store.writer wattlog_pi.system_clock
                                   wattlog_sim.world.net
tools/wattlog_sim/world/faults.py  wattlog_sim.world.net
tools/wattlog_sim/world/day.py     wattlog.channels wattlog.uplink wattlog_host.placing
                                   wattlog_host.store.writer wattlog_host.units
                                   wattlog_sim.world.clock
                                   wattlog_sim.world.edge wattlog_sim.world.faults
                                   wattlog_sim.world.host wattlog_sim.world.meter
                                   wattlog_sim.world.net

tools/wattlog_tools/__init__.py
tools/wattlog_tools/__main__.py    wattlog_tools.cli
tools/wattlog_tools/bench.py       smllib.* wattlog.decoder wattlog.framing wattlog.reading
                                   wattlog.sml wattlog_tools.console wattlog_tools.device
                                   wattlog_tools.frames wattlog_tools.bench_history wattlog_tools.bench_ingest
                                   wattlog_tools.bench_log wattlog_tools.bench_readers
                                   wattlog_tools.bench_wire
tools/wattlog_tools/bench_host.py  wattlog_tools.console wattlog_tools.run
tools/wattlog_tools/bench_readers.py aiomqtt prometheus_client.* wattlog_host.clock wattlog_host.wire
                                   wattlog_tools.bench_edge wattlog_tools.bench_history
                                   wattlog_tools.bench_host wattlog_tools.console
tools/wattlog_tools/bench_wire.py  wattlog.agent wattlog.ramdevice wattlog.reading
                                   wattlog.records wattlog.ringlog wattlog_sim.house
                                   wattlog_sim.lcg wattlog_sim.meters
tools/wattlog_tools/bench_edge.py  wattlog.reading wattlog.records wattlog_sim.house
                                     wattlog_sim.lcg
tools/wattlog_tools/bench_history.py wattlog_host.clock
                                   wattlog_tools.bench_host
                                   wattlog_tools.bench_edge
                                     wattlog_host.desk wattlog_host.live
                                     wattlog_host.store.writer wattlog_pi.system_clock
                                     wattlog_tools.console
tools/wattlog_tools/bench_ingest.py sqlalchemy.*
                                   wattlog_tools.bench_edge
                                     wattlog_host.desk wattlog_host.live
                                     wattlog_host.store.writer wattlog_pi.system_clock
tools/wattlog_tools/bench_log.py   wattlog.ringlog wattlog_sim.flash wattlog_sim.lcg
                                   wattlog_tools.console wattlog_tools.device
tools/wattlog_tools/chips.py
tools/wattlog_tools/cli.py         wattlog wattlog_tools.console
tools/wattlog_tools/console.py
tools/wattlog_tools/dess_cloud.py  wattlog_sim.dess.cloud wattlog_sim.dess.server
                                     wattlog_tools.console
tools/wattlog_tools/device.py      wattlog wattlog_sim wattlog_tools.console
tools/wattlog_tools/esptool.py     wattlog_tools.chips wattlog_tools.console
                                   wattlog_tools.partitions
tools/wattlog_tools/firmware_file.py  wattlog_tools.chips wattlog_tools.console
                                      wattlog_tools.partitions
tools/wattlog_tools/bundle.py       wattlog wattlog_host.clock wattlog_tools
                                    wattlog_tools.chips wattlog_tools.console
                                    wattlog_tools.head_files wattlog_tools.head_settings
tools/wattlog_tools/icons.py        wattlog_host.web
tools/wattlog_tools/settings_reference.py  wattlog.config wattlog_host wattlog_host.house_settings
                                   wattlog_host.settings wattlog_pi wattlog_pi.settings
                                   wattlog_tools wattlog_tools.head_settings
tools/wattlog_tools/ca_file.py
tools/wattlog_tools/fleet.py        sqlalchemy wattlog_host.settings wattlog_host.store.kinds
                                    wattlog_tools wattlog_tools.console wattlog_tools.fleet_check
                                    wattlog_tools.fleet_crew wattlog_tools.fleet_parts
                                    wattlog_tools.fleet_report wattlog_tools.fleet_run
tools/wattlog_tools/fleet_check.py  sqlalchemy wattlog.channels wattlog_host.store
                                    wattlog_host.store.kinds wattlog_host.store.lookup
                                    wattlog_host.store.reader wattlog_host.store.records
                                    wattlog_host.store.tables wattlog_tools.console
                                    wattlog_tools.fleet_head
tools/wattlog_tools/fleet_crew.py   wattlog_tools wattlog_tools.console wattlog_tools.fleet_load
tools/wattlog_tools/fleet_head.py   wattlog wattlog.live wattlog.ports wattlog.reading
                                    wattlog.records wattlog.ringlog wattlog.uplink
                                    wattlog_sim.lcg
tools/wattlog_tools/fleet_link.py   msgpack paho.* wattlog wattlog.recordreader wattlog.records
                                    wattlog.uplink wattlog_tools.fleet_head
tools/wattlog_tools/fleet_load.py   wattlog.records wattlog.uplink wattlog_sim.lcg
                                    wattlog_tools.fleet_head wattlog_tools.fleet_link
tools/wattlog_tools/fleet_parts.py  sqlalchemy wattlog_host.access wattlog_host.access.recipes
                                    wattlog_host.access.topics wattlog_tools.console
                                    wattlog_tools.run wattlog_tools.supervisor
tools/wattlog_tools/fleet_report.py wattlog_tools.fleet_check wattlog_tools.fleet_load
                                    wattlog_tools.fleet_parts
tools/wattlog_tools/fleet_run.py    wattlog_host.clock wattlog_host.store.kinds wattlog_tools
                                    wattlog_tools.console wattlog_tools.fleet_check
                                    wattlog_tools.fleet_crew wattlog_tools.fleet_head
                                    wattlog_tools.fleet_link wattlog_tools.fleet_load
                                    wattlog_tools.fleet_parts wattlog_tools.fleet_report
tools/wattlog_tools/flash.py       wattlog_tools.chips wattlog_tools.console
                                   wattlog_tools.esptool wattlog_tools.firmware_file
                                   wattlog_tools.head_files wattlog_tools.head_settings
                                   wattlog_tools.partitions
tools/wattlog_tools/frames.py      wattlog_sim.house wattlog_sim.meters wattlog_sim.sml_writer
tools/wattlog_tools/fuzz.py        wattlog_sim.decoder_check wattlog_sim.mutate
                                   wattlog_sim.world.wire_check
                                   wattlog_tools.console wattlog_tools.device wattlog_tools.frames
tools/wattlog_tools/head_files.py  littlefs.* wattlog wattlog_esp32 wattlog_tools.console
                                   wattlog_tools.partitions wattlog_tools.shorten
tools/wattlog_tools/head_settings.py  wattlog.config wattlog_esp32.settings
                                      wattlog_host.clock wattlog_tools
                                      wattlog_tools.ca_file wattlog_tools.chips
                                      wattlog_tools.console
tools/wattlog_tools/head.py        wattlog_host.bounds wattlog_host.eyes wattlog_tools.console
                                   wattlog_tools.remote
tools/wattlog_tools/makers.py      wattlog_esp32.light wattlog_tools.console
tools/wattlog_tools/pin.py         wattlog_host.bounds wattlog_host.eyes wattlog_host.status
                                   wattlog_tools.console wattlog_tools.makers
                                   wattlog_tools.remote
tools/wattlog_tools/remote.py      paho.* wattlog_host.bounds wattlog_host.status
                                   wattlog_host.wire wattlog_tools.console
tools/wattlog_tools/log.py         wattlog.channels wattlog.ramdevice wattlog.recordreader
                                   wattlog.records wattlog.ringlog wattlog.sml
                                   wattlog_tools.console
tools/wattlog_tools/manifest.py    wattlog wattlog_tools.chips wattlog_tools.console
                                   wattlog_tools.firmware_file wattlog_tools.head_files
                                   wattlog_tools.partitions
tools/wattlog_tools/meter.py       wattlog_sim.house wattlog_sim.meters wattlog_sim.sml_writer
                                   wattlog_tools.console
tools/wattlog_tools/mpy.py         wattlog_tools.console wattlog_tools.head_files
tools/wattlog_tools/partitions.py
tools/wattlog_tools/powercut.py    wattlog.ringlog wattlog.ringrepair wattlog.ringsector
                                   wattlog_sim.flash wattlog_sim.log_lab wattlog_tools.console
tools/wattlog_tools/run.py         wattlog_tools.console wattlog_tools.meter
                                   wattlog_tools.supervisor
                                   wattlog_sim.dess.cloud wattlog_tools.dess_cloud
tools/wattlog_tools/shorten.py
tools/wattlog_tools/sim.py         wattlog_sim.world.day wattlog_tools.console
tools/wattlog_tools/supervisor.py  wattlog_tools.console
"""

Row = namedtuple("Row", ("section", "floor", "imports"))
PORTABLE_SECTIONS = ("core", "device", "board", "both")

# What the core may use of MicroPython itself: nothing that is a clock, a socket or chance.
CORE_MODULES = {
    "array", "binascii", "collections", "errno", "gc", "hashlib", "micropython", "struct",
}  # fmt: skip
# What a file that runs on the device may use beyond that; frozen into every ESP32 firmware.
DEVICE_MODULES = CORE_MODULES | {
    "asyncio", "esp32", "io", "json", "machine", "network", "ntptime", "os", "platform", "random",
    "re", "select", "socket", "ssl", "sys", "time", "tls", "umqtt", "umqtt.simple", "vfs",
}  # fmt: skip
# What the fake board needs of the unix port.
BOARD_MODULES = DEVICE_MODULES | {"fakeserver", "ffi", "termios", "uctypes"}


def parse_table(text: str) -> dict[str, Row]:
    """Read TABLE: {path: Row}. Raises ValueError for a line it does not understand."""
    rows: dict[str, Row] = {}
    section = ""
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if not words:
            continue
        if line.startswith("["):
            section = line.strip("[] ")
            continue
        if line[0].isspace():  # goes on with the row above
            path = list(rows)[-1]
            rows[path] = rows[path]._replace(imports=(*rows[path].imports, *words))
            continue
        path, *imports = words
        floor = int(imports.pop(0)) if section == "core" else None
        if path in rows:
            raise ValueError(f"two rows for {path}")
        rows[path] = Row(section, floor, tuple(imports))
    return rows


def source_files() -> list[str]:
    """Every Python file below the four trees, relative to the project root."""
    return sorted(
        path.relative_to(ROOT).as_posix() for tree in TREES for path in (ROOT / tree).rglob("*.py")
    )


def module_name(path: str) -> str:
    """agent/wattlog/crc.py is wattlog.crc, and a package's __init__.py is the package."""
    name = path.partition("/")[2].removesuffix(".py").replace("/", ".")
    return name.removesuffix(".__init__")


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and (
        (isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING")
        or (isinstance(node.test, ast.Attribute) and node.test.attr == "TYPE_CHECKING")
    )


def run_time_nodes(tree: ast.AST) -> list[ast.AST]:
    """All nodes an interpreter acts on: annotations and TYPE_CHECKING branches are left out."""
    found = []
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        found.append(node)
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns") or (name == "body" and is_type_checking(node)):
                continue
            children = value if isinstance(value, list) else [value]
            waiting.extend(child for child in children if isinstance(child, ast.AST))
    return found


def imports_of(source: str, known: set[str]) -> set[str]:
    """The modules imported at run time; `from p import m` is p.m where p.m is a module."""
    found: set[str] = set()
    for node in run_time_nodes(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = "." * node.level + (node.module or "")
            for alias in node.names:
                member = f"{package}.{alias.name}"
                found.add(member if member in known else package)
    return found


def allows(row: Row, module: str) -> bool:
    """Does the row let its file import this module?"""
    for allowed in row.imports:
        package = allowed.removesuffix(".*")
        if module == package or (allowed != package and module.startswith(package + ".")):
            return True
    top = module.partition(".")[0]
    return row.section in ("cpython", "checker") and top in sys.stdlib_module_names


def forbidden_imports(path: str, row: Row, source: str, rows: dict[str, Row]) -> list[str]:
    """What is wrong with the imports of one file, as sentences."""
    modules = {module_name(other): other for other in rows}
    wrong = []
    for module in sorted(imports_of(source, set(modules))):
        if module.startswith("."):
            wrong.append(f"{path}: relative import of {module}")
        elif not allows(row, module):
            wrong.append(f"{path}: imports {module}, which its row does not allow")
        other = rows.get(modules.get(module, ""))
        if other is None:
            continue
        if row.section in PORTABLE_SECTIONS and other.section not in PORTABLE_SECTIONS:
            wrong.append(f"{path}: runs on the device, but {module} does not")
        if row.section == "core" and (other.section != "core" or other.floor >= row.floor):
            wrong.append(f"{path}: {module} is not on a lower floor of the core")
    return wrong


def wrong_rows(rows: dict[str, Row]) -> list[str]:
    """Rows that allow what no row of their section may allow."""
    ours = {module_name(path) for path in rows}
    limits = {
        "core": CORE_MODULES,
        "device": DEVICE_MODULES,
        "board": BOARD_MODULES,
        "both": DEVICE_MODULES,
    }
    wrong = []
    for path, row in rows.items():
        if row.section not in ("checker", "cpython", *limits):
            wrong.append(f"{path}: unknown section [{row.section}]")
        for module in row.imports:
            known = module.removesuffix(".*") in ours
            if row.section in limits and not known and module not in limits[row.section]:
                wrong.append(f"{path}: {module} does not exist in [{row.section}]")
    return wrong


def find_cycle(graph: dict[str, set[str]]) -> list[str]:
    """Modules that import each other in a ring, as a path that ends where it began; else []."""
    done: set[str] = set()

    def visit(module: str, trail: list[str]) -> list[str]:
        if module in trail:
            return [*trail[trail.index(module) :], module]
        if module in done:
            return []
        for imported in sorted(graph.get(module, ())):
            ring = visit(imported, [*trail, module])
            if ring:
                return ring
        done.add(module)
        return []

    for module in sorted(graph):
        ring = visit(module, [])
        if ring:
            return ring
    return []
