"""Whole installations of the older programs: where they are, what they hold, and what is carried over."""
