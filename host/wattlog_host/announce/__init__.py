"""What wattlog tells others over MQTT in plain text: Home Assistant, and whoever reads JSON."""
