"""A simulated model server in virtual time."""
