"""The tools around wattlog: simulated meters, the whole house in one command, measurements."""
