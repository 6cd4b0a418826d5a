"""Measures models and engines, says how sure the figures are, and compares them with earlier ones."""
