"""Registry of published and embedded weights: safe loading, fetching."""
