"""What we found: the journal, the report and its renderings."""
