"""What changes something: one verb a module, each carried out by `lifecycle`, the one way a run happens."""
