"""What a person reads: text made safe and short."""
