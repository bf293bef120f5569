"""A sentinel that lets nobody in without a password, and two who may come in."""

from __future__ import annotations

PASSWORD = "open sesame"
# Who only asks and listens needs no more than this.
RULES = (
    "on >knock ~* resetchannels &+switch-master -@all +ping +hello +auth +client|setinfo +client|setname +subscribe "
    "+unsubscribe +sentinel|masters +sentinel|replicas +sentinel|slaves +sentinel|get-master-addr-by-name"
)
PLAIN = {"password": PASSWORD}
NAMED = {"username": "guest", "password": "knock"}
LINES = (f'requirepass "{PASSWORD}"', f"user guest {RULES}", f'user default on ">{PASSWORD}" ~* &* +@all')
"""For sentinel.conf."""
