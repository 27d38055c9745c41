"""What replaying a trace at another rate does to its bursts."""
