"""Tables 9 and 10, Figs. 10 and 11 of Ma et al.: all networks at the shortest window (20) and step (10)."""

from __future__ import annotations

from .. import published
from ..artefact import Artefact
from ..cells import Source
from ..mldrsnet import SHORTEST
from ..mldrsnet.best_cell import at_cells


def make(source: Source) -> Artefact:
    """Return the networks compared at the shortest cell."""
    artefact = Artefact("mldrsnet/shortest_cell", "Networks at W=20, S=10 (Tables 9, 10; Figs. 10, 11)")
    artefact.notes.append(
        "Published: ML-DRSNet above both others in all scores (P < 0.001). The published mean of its three intensities is "
        "0.867 while the abstract has 0.86; the discussion speaks of an average precision above 0.90, which is its best cell's."
    )
    return at_cells(source, artefact, SHORTEST, published.read("mldrsnet", "shortest_cell"))
