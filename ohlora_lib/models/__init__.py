"""Networks only; they depend on torch and NumPy."""
