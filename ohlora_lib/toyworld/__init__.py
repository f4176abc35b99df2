"""Procedural faces whose every attribute and pixel class is known."""
