"""Training of the embedded toy-world models: `python -m ohlora_lib.train.toy WHAT`."""
