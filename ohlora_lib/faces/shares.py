"""How shares are written."""


def percent(share: float, digits: int = 0) -> str:
    """0.5 -> "50%"; with more digits where fewer would make 0% or 100% of a share that is not."""
    text = f"{share:.{digits}%}"
    inside = 1e-9 < share < 1 - 1e-9  # not the rounding error of an exact 0 or 1
    return percent(share, digits + 1) if inside and float(text[:-1]) in (0, 100) else text
