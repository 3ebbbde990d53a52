"""The Hydra configuration; a wheel carries it as neuroexp/conf."""
