"""Alerts: what is wrong in the house's metering, told once, and again when it is over."""
