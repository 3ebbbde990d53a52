"""Where results are kept: MLflow, and a ledger of finished cells beside it."""
