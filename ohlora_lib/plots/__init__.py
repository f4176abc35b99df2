"""DataFrame or array in, matplotlib figure out."""
