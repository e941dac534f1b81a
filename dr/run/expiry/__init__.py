"""What the plan's retention removes where backups write, and the space that this frees.

Promises that nothing goes which a newer proven point does not replace, and that what went was seen to be gone. Begin
with `rules`, then `expire` and `prune`; `calendar` shows the next year."""
