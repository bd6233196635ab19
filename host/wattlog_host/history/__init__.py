"""What was: years of readings, asked by time; energy, days and cost that add up."""
