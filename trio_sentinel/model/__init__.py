"""The mind: what a sentinel knows and decides. Pure: no I/O, no clock, no dice of its own, no logging."""
