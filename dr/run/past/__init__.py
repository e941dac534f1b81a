"""The past of a target: views of it, when it was attacked, and the way back."""
