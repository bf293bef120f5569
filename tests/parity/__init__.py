"""The same commands to ours and to live stock sentinels: what comes back must be the same."""
