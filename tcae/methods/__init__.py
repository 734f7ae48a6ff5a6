"""What a face can be embedded with: the twin cycle and all that it is compared with."""
