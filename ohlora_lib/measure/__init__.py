"""From pixels to numbers: parsers, property scores, labels, similarity of sets of faces."""
