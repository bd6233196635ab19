# wattlog: `make run` shows a simulated house, `make test` checks everything; both set up what they need.
# Everything made here goes to .venv (Python) and .tools (MicroPython, MQTT broker, PostgreSQL, Home Assistant).

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

BIN := .venv/bin
TOOLS := chromium homeassistant micropython mosquitto postgres systemd umqtt wasm
STAMPS := $(TOOLS:%=.tools/%.stamp)

# Arguments for pytest, as in: make test ARGS="tests/portable -k crc"
ARGS ?=
# All of them beside each other: half of their time is waiting (tests/conftest.py).
TEST_ARGS = $(or $(ARGS),-n 2 --no-loadscope-reorder)

# Settings of `make run`; only what is given is passed on, so that the defaults live in one place.
RUN_ARGS = $(if $(PORT),--port "$(PORT)") $(if $(REPLAY),--replay "$(REPLAY)") \
	$(if $(HTTP_PORT),--http-port "$(HTTP_PORT)") $(if $(MQTT_PORT),--mqtt-port "$(MQTT_PORT)") \
	$(if $(DATA),--data "$(DATA)") $(if $(DESS),--dess "$(DESS)") \
	$(if $(DESS_PORT),--dess-port "$(DESS_PORT)")

.PHONY: help setup wheel deb run test test-mpy check lint type fmt pictures mpy flash bench fuzz lab soak clean FORCE

help:  ## list the targets
	@sed -n 's/^\([a-z][a-z-]*\):[^#]*## \(.*\)/\1\t\2/p' Makefile | expand -t 12

setup: .venv/dev.stamp $(STAMPS)  ## make .venv and .tools (again and again without harm)
	@echo "wattlog is set up: commands in $(BIN), tools in .tools/bin"

wheel: .venv/dev.stamp  ## build dist/wattlog-VERSION-py3-none-any.whl, all there is to install
	@$(BIN)/python -m hatchling build -t wheel -d dist

deb: .venv/dev.stamp  ## build dist/wattlog_VERSION_ARCH.deb, for this machine's architecture and Python
	@tools/deb/build.sh

run: .venv/run.stamp  ## host, agent and a simulated meter; PORT= REPLAY= DESS=demo HTTP_PORT= MQTT_PORT= DATA=
	@exec $(BIN)/wattlog-tools run $(RUN_ARGS)

test: .venv/dev.stamp $(STAMPS)  ## all tests on CPython and MicroPython; ARGS= goes to pytest
	@$(BIN)/python -m pytest $(TEST_ARGS)

test-mpy: .venv/dev.stamp $(STAMPS)  ## only the portable tests on MicroPython
	@$(BIN)/python -m pytest tests/test_micropython.py $(ARGS)

check: lint type test  ## what CI runs: lint, type, test

lint: .venv/dev.stamp  ## ruff: form and rules
	@$(BIN)/ruff format --quiet --check --diff .
	@$(BIN)/ruff check --quiet .

type: .venv/dev.stamp  ## mypy --strict
	@$(BIN)/mypy --no-error-summary

fmt: .venv/dev.stamp  ## format the source
	@$(BIN)/ruff check --quiet --fix-only --select I .
	@$(BIN)/ruff format --quiet .

pictures: .venv/dev.stamp .tools/chromium.stamp  ## take the documents' pictures anew, from the real page
	@WATTLOG_PICTURES=1 $(BIN)/python -m pytest -q tests/browser/test_pictures.py

mpy: .venv/dev.stamp  ## bytes of an ESP32's modules beside those of the last commit; KEEP=1 notes them
	@$(BIN)/wattlog-tools mpy $(if $(KEEP),--keep)

flash: .venv/dev.stamp  ## make an IR head of an ESP32; PORT= CHIP= FIRMWARE= CONFIG= ARGS=
	@$(BIN)/wattlog-tools flash --config "$(or $(CONFIG),head.toml)" $(if $(CHIP),--chip "$(CHIP)") \
		$(if $(PORT),--port "$(PORT)") $(if $(FIRMWARE),--firmware "$(FIRMWARE)") $(ARGS)

bench: .venv/dev.stamp  ## measure throughput; ARGS= goes to wattlog-tools bench
	@$(BIN)/wattlog-tools bench --json bench-last.json $(ARGS)

fuzz: .venv/dev.stamp  ## damaged streams against the decoder; N= SEED= ARGS= (--wire: the host)
	@$(BIN)/wattlog-tools fuzz $(if $(N),-n "$(N)") $(if $(SEED),--seed "$(SEED)") $(ARGS)

lab: .venv/dev.stamp  ## power cuts and days of trouble, as many as CI does, and the same; SEED=
	@$(BIN)/wattlog-tools powercut --seed "$(or $(SEED),1)"
	@$(BIN)/wattlog-tools sim --seeds 200 --seed "$(or $(SEED),1)"

soak: .venv/dev.stamp $(STAMPS)  ## the same by the million, damaged streams, and hundreds of kills; SEED=
	@$(BIN)/wattlog-tools fuzz -n 1000000 $(if $(SEED),--seed "$(SEED)")
	@$(BIN)/wattlog-tools fuzz -n 20000 $(if $(SEED),--seed "$(SEED)") --micropython
	@$(BIN)/wattlog-tools fuzz -n 1000000 $(if $(SEED),--seed "$(SEED)") --wire
	@$(BIN)/wattlog-tools powercut $(if $(SEED),--seed "$(SEED)") --cuts 1000000 --doubles 250000 \
		--rots 200000 --wavers 100000 --faults 100000
	@$(BIN)/wattlog-tools sim --seeds 10000 $(if $(SEED),--seed "$(SEED)")
	@WATTLOG_KILLS=10 $(if $(SEED),WATTLOG_SEED="$(SEED)") $(BIN)/python -m pytest tests/e2e/test_crash.py \
		tests/host/test_postgres.py

clean:  ## remove everything that make made, except recorded data
	@rm -rf .venv .tools build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis \
		host/wattlog_host/web/static/vendor
	@find agent firmware host tests tools -name __pycache__ -type d -prune -exec rm -rf {} +

# A checkout that was moved, or whose Python went away, needs a new .venv: its commands name paths.
ifneq ($(shell cat .venv/where 2>/dev/null):$(wildcard .venv/bin/python),$(CURDIR):.venv/bin/python)
.venv/run.stamp: FORCE
endif

.venv/run.stamp: pyproject.toml hatch_build.py frontend.lock.json tools/setup/venv.sh tools/setup/common.sh
	@tools/setup/venv.sh run

.venv/dev.stamp: .venv/run.stamp
	@tools/setup/venv.sh dev

# No stamp appears while a tool cannot be had, so the next make tries again; the tests that need it
# skip with the reason kept in .tools/*.missing. With CI set this is an error.
.tools/%.stamp: tools/setup/%.sh tools/setup/common.sh
	@tools/setup/tool.sh $*

.tools/micropython.stamp .tools/mosquitto.stamp .tools/postgres.stamp .tools/systemd.stamp: tools/setup/get-deb-tool.sh
.tools/umqtt.stamp: tools/setup/fetch_umqtt.py | .venv/dev.stamp
.tools/homeassistant.stamp: tools/setup/get-deb-tool.sh tools/setup/homeassistant/requirements.txt | .venv/dev.stamp
.tools/wasm.stamp: tools/setup/wasm/package.json tools/setup/wasm/package-lock.json
