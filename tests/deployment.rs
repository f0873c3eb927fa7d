//! What an operator copies from `deploy/`: every file parses, and names only what exists.
