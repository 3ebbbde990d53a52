"""Live streams: their clock, their channels, Lab Streaming Layer."""
