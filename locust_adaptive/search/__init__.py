"""What load next, and when are we sure: pure, standard library and numpy only."""
