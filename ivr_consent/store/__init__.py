"""What must survive: the log of decisions and the recordings."""
