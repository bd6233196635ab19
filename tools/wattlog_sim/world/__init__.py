"""Whole days in virtual time: agent, network and host in one process, and all that fails."""
