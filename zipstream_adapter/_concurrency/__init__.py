"""Threads that streams share, results in order, waits that survive cancellation.

Imports: errors, `_checks`.
Rule: Independent of zip. Each thread has an owner who closes it.
"""
