"""One LightningModule per learning problem: loss, optimiser, scores, tables and figures."""
