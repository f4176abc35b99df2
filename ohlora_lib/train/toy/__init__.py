"""What trains the embedded models: `python -m ohlora_lib.train.toy WHAT`."""
