"""Facial action unit representations from unlabelled videos of talking faces."""
