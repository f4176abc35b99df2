"""Samples, groups, directions, control tests, selection."""
