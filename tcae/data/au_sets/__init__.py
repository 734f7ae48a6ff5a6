"""Readers of data sets with action unit labels, as they are distributed: BP4D, DISFA, GFT."""
