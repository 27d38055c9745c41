"""The first experiment: what each kind of evidence adds to counting misses, on queues and on other servers."""
