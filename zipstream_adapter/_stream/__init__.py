"""Runs a writer over entries, in a thread or on an event loop.

Imports: `_writer` and below.
Rule: The steps are written once, in `producer.py`; they request all that may wait. A driver decides where each request
runs. A step runs only when the consumer asks.
"""
