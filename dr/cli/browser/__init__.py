"""`dr browse`: recovery points, their files and versions on a full screen. Sole user of textual, loaded only by it."""
