"""What a network costs, and what a device allows."""
