"""The changes to programs, one module each: `MARKERS`, without one of which nothing is done, and `apply`."""
