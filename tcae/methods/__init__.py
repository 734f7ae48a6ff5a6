"""The methods of embedding a face: the twin cycle and everything that it is compared with."""
