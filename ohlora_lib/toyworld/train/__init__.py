"""What trains the embedded models: `python -m ohlora_lib.toyworld.train WHAT`."""
