"""The search suite: searches of servers of known capacity in virtual time, ours beside the tools that ship."""
