"""Finding, choosing and running engines."""
