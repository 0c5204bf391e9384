"""What XLA on a CPU does badly, and how it is asked to do better: gradients, sums, flags, memory.

Of the rest of the package, operations and commands attach what is here; layers and optimizers never name it.
"""
