"""Optional CPU fast paths, each with a plain fallback."""
