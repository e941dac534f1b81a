"""The primary's repository copied to replicas, object by object, valid at each instant.

Promises that a replica holds what was proven to be copied. Begin with `replicate`."""
