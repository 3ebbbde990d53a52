"""How good a decoder is: scores of windows, agreement of spike trains."""
