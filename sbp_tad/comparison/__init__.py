"""Comparison of strategies that train a backbone within a memory budget."""
