"""What to send, and when."""
