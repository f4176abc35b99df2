"""Oh-LoRA faces: the library that the notebooks call."""
