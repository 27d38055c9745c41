"""The embedded model server and its trace."""
