"""What was asked for: composed, checked, resolved, and known again by its key."""
