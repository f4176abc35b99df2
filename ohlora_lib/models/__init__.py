"""Networks and nothing else; needs torch alone."""
