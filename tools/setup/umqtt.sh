#!/usr/bin/env bash
# Puts umqtt.simple, the MQTT client in every ESP32 firmware, at .tools/umqtt/umqtt/simple.py.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tools/setup/common.sh

.venv/bin/python tools/setup/fetch_umqtt.py .tools/umqtt
say "umqtt.simple is in .tools/umqtt"
