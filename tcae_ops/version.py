"""The version of the package; a compiled library must have been built from the same one."""

VERSION = "0.1.0"
