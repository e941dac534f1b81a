"""A versioned target as it was: seen at a time, its history told, its objects put back.

Promises that looking writes nothing there. Begin with `point_in_time`."""
