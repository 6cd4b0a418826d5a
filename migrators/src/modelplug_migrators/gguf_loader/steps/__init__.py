"""The steps of the family, one module each."""
