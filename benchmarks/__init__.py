"""What is measured of this package, and how: each folder has a runner and its last results."""
