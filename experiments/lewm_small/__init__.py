"""The LeWM recipe at 64 x 64 pixels: embeddings that predict each other, kept from collapse."""
