"""Hundreds of hostile connections at work against a deployment of ours (``python -m tests.hostile``)."""
