"""Other action units and another pose for the face in a picture."""
