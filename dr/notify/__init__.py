"""Notify: how somebody is told; one file a channel. Begin at `deliver`.

A channel takes a message, or raises `DrError`. What is told, to whom and when is decided in `dr/operations/tell.py`.
"""
