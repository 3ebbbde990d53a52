"""A recording or a live stream through a trained run, chunk by chunk, as an acquisition system would deliver it."""
