"""How targets are kept: their posture, what their keys could destroy, and the locks on what is needed."""
