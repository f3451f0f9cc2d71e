"""Objects of other libraries as sources: HTTP responses, processes, readers.

Imports: errors and `_checks`.
Rule: No other library is imported, and no attribute that would load the data is used.
"""
