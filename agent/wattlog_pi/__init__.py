"""The rim of the Raspberry Pi daemon: serial ports, MQTT, clock, command line."""
