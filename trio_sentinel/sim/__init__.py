"""The rehearsal: sentinels against simulated servers on virtual time, repeatable from a seed."""
