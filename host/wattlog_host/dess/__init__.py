"""Solar inverters in the DessMonitor (SmartESS) cloud: client, poller, ledger; see DESIGN.md."""
