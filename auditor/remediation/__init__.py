"""Keys that are rotated, switched off and deleted, when a person asked for it and another one approved."""
