"""Fit loops."""
