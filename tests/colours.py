"""Colours as readers see them: their contrast, and what colour-blind readers see."""

from __future__ import annotations

import numpy as np

# Linear RGB of a complete dichromat. Source: Machado, Oliveira, Fernandes 2009, severity 1.
DICHROMATS = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def contrast(one: str, other: str, dichromat: str | None = None) -> float:
    """Return the contrast of two colours such as #1b1f24 by WCAG 2, 1 to 21, for all eyes or those of a dichromat."""
    low, high = sorted((_luminance(one, dichromat), _luminance(other, dichromat)))
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str, dichromat: str | None) -> float:
    shares = np.array([int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)])
    linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    if dichromat is not None:
        linear = np.clip(np.array(DICHROMATS[dichromat]) @ linear, 0, 1)
    return float(np.array([0.2126, 0.7152, 0.0722]) @ linear)
