"""Which faces a run works on, toy faces or photographs, and all that follows from it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Domain:
    """`parser` and `networks` are the names under which `measure` and `train` keep what fits these
    faces. `has_truth`: rendered faces of known attributes exist, and the annotator knows them."""

    name: str
    parser: str
    networks: str
    has_truth: bool


TOY = Domain("toy", parser="embedded", networks="small", has_truth=True)
"""The embedded toy world: procedural faces, small networks."""
PHOTO = Domain("photo", parser="facexformer", networks="published", has_truth=False)
"""Photographs: MTCNN and FaceXFormer, the published sizes; nothing about a face is known."""
DOMAINS = {domain.name: domain for domain in (TOY, PHOTO)}
