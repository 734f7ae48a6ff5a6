"""Measures of a trained model, on people it was not trained on."""
