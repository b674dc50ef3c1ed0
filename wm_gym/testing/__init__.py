"""For tests of whatever reads our files: tiny folders of every kind, and ways to damage them."""
