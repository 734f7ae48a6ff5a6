"""The page of `tcae demo` and the server behind it."""
