"""What XLA compiled for such hardware, read back: buffers, products, collectives, and their least time."""
