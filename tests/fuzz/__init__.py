"""The fuzzer: what any stranger can send, read by every parser, with an oracle for each (``python -m tests.fuzz``)."""
