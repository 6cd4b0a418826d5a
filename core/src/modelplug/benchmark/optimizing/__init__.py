"""Finds settings that make a model faster or smaller here, by measuring them against those in force."""
