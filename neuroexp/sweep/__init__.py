"""The jobs of a launch, one after another, whatever befalls them."""
