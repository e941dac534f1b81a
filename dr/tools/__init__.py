"""MEANS: the outside things this program uses, each in one module that alone knows it."""
