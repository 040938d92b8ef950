//! What is written, where, and when it ends.
