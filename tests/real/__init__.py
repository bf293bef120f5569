"""Scenarios with real servers and real sentinels. `harness.py` is where to begin reading."""
