"""Networks, one per file: plain `nn.Module(n_channels, window, n_outputs, ...)` from (batch, channel, time) to logits."""
