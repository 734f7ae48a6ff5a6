"""Encoder, decoders and the twin-cycle autoencoder."""
