"""Shared vocabulary: class ids, property names, the concept."""
