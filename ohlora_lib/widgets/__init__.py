"""Widgets of notebooks/hands_on; they read and write the same CSVs as headless runs."""
